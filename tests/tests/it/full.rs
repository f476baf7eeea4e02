//! Disks that run full.

use anyhow::{Result, ensure};
use headworks_shared::http::Code;
use headworks_tests::{Config, DEADLINE, Headworks, Mount, digest, remains, until};
use http::Method;

/// A disk for objects of this size.
fn small(mib: u64) -> Result<Config> {
    Ok(Config::new()?.mount(Mount::Small { folder: "objects", bytes: mib << 20 }))
}

#[tokio::test]
async fn an_upload_that_fills_the_disk_is_refused_and_leaves_nothing() -> Result<()> {
    let config = small(4)?.announce("full").announce("intake shut");
    Headworks::run(config, async |headworks| {
        let client = headworks.client();
        let too_large = digest::content(5, 8 << 20);
        for chunked in [false, true] {
            let put = client.put("large", too_large.clone());
            let put = if chunked { put.chunks(vec![too_large.clone()]) } else { put };
            put.send().await?.problem(Code::DiskFull)?;
            headworks.nothing_is_left().await?;
            let open = async || headworks.metrics().await?.sum("headworks_intake_open", &[]);
            until("intake to be open", DEADLINE, open, |open| *open == 1.0).await?;
        }
        let fits = digest::content(6, 1 << 20);
        let id = client.put("small", fits.clone()).send().await?.with_status(201)?.text("id")?;
        ensure!(client.get(&format!("/v1/objects/{id}/content")).send().await?.body == fits);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_disk_that_is_nearly_full_shuts_the_gate_until_there_is_room() -> Result<()> {
    let config = small(4)?.set("disk.shut_below", 50).set("disk.open_above", 60).announce("intake shut");
    Headworks::run(config, async |headworks| {
        let client = headworks.client();
        let open = async || headworks.metrics().await?.sum("headworks_intake_open", &[]);
        let put = client.put("a", digest::content(7, 3 << 20)).header("prefer", "wait=5");
        let id = put.send().await?.with_status(201)?.text("id")?;
        until("the gate to shut", DEADLINE, open, |open| *open == 0.0).await?;
        let refused = client.put("b", "x").send().await?.problem(Code::Refused)?;
        ensure!(refused["reason"] == "disk", "{refused}");
        // Reading and deleting go on.
        client.get(&format!("/v1/objects/{id}/content")).send().await?.with_status(200)?;
        client.call(Method::DELETE, &format!("/v1/objects/{id}")).send().await?.with_status(204)?;
        until("the gate to open", DEADLINE, open, |open| *open == 1.0).await?;
        client.put("b", "x").send().await?.with_status(201)?;
        ensure!(remains::staged(&headworks.data())?.is_empty());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_upload_that_fills_the_disk_under_the_databases_too_is_got_over() -> Result<()> {
    // For a moment nothing can be written at all: that may be told.
    let config = Config::new()?.mount(Mount::Small { folder: "", bytes: 24 << 20 }).announce("full");
    let config = config.announce("no jobs claimed").announce("intake shut");
    Headworks::run(config, async |headworks| {
        let client = headworks.client();
        let before = client.put("before", "x").header("prefer", "wait=5").send().await?.with_status(201)?;
        client.put("large", digest::content(8, 40 << 20)).send().await?.problem(Code::DiskFull)?;
        ensure!(remains::staged(&headworks.data())?.is_empty());
        let put = async || client.put("after", "x").header("prefer", "wait=5").send().await;
        let after = until("an upload to be taken", DEADLINE, put, |answer| answer.status == 201).await?;
        for id in [before.text("id")?, after.text("id")?] {
            let object = format!("/v1/objects/{id}");
            let stored = async || client.get(&object).send().await?.with_status(200)?.text("status");
            until("it to be stored", DEADLINE, stored, |status| status == "stored").await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_gate_leaves_room_for_the_databases() -> Result<()> {
    // The default marks. They are looked at more often than by default, because this disk is small for the pace of the test.
    let config = Config::new()?.mount(Mount::Small { folder: "", bytes: 32 << 20 }).announce("intake shut");
    let config = config.set("disk.shut_below", 10).set("disk.open_above", 15);
    let config = config.text("memory.sample_every", "50ms");
    Headworks::run(config, async |headworks| {
        let client = headworks.client();
        let mut taken = Vec::new();
        let refusal = loop {
            let number = taken.len() as u64;
            let put = client.put(&number.to_string(), digest::content(number, 300_000));
            // One after the other, each stored before the next: slowly enough for the gate to see it coming.
            let answer = put.header("prefer", "wait=5").send().await?;
            if answer.status != 201 {
                break answer;
            }
            taken.push(answer.text("id")?);
            ensure!(taken.len() < 115, "32 MiB hold more than 32 MiB");
        };
        ensure!(refusal.problem(Code::Refused)?["reason"] == "disk", "{refusal:?}");
        for (number, id) in taken.iter().enumerate() {
            let there = client.get(&format!("/v1/objects/{id}/content")).send().await?.with_status(200)?;
            ensure!(there.body == digest::content(number as u64, 300_000), "{id} is damaged");
        }
        for id in taken.iter().take(20) {
            client.call(Method::DELETE, &format!("/v1/objects/{id}")).send().await?.with_status(204)?;
        }
        let put = async || client.put("later", "x").header("prefer", "wait=5").send().await;
        let stored = until("the gate to open", DEADLINE, put, |answer| answer.status != 503).await?;
        ensure!(stored.with_status(201)?.text("status")? == "stored");
        headworks.until_idle().await
    })
    .await
}
