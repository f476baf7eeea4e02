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
    Headworks::run(config.text("ingest.limits.hold", "0s"), async |headworks| {
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
