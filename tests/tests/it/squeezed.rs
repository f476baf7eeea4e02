//! A process in a control group whose memory runs short.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use headworks_shared::http::Code;
use headworks_tests::{Config, DEADLINE, Group, Headworks, Raw, digest, raw::put, until};
use tokio::time::sleep;

const LIMIT: u64 = 256 << 20;

/// How many uploads are in the middle of their body, each of which is gathered in memory: so that what is left beside them is more than
/// the kernel charges at any moment.
const STREAMS: usize = 100;
const SIZE: usize = 1 << 20;

const SHUT: f64 = 0.5;
const CRITICAL: f64 = 0.7;

fn config(group: &Group) -> Result<Config> {
    Ok(Config::new()?
        .group(group)
        .announce("intake shut")
        .announce("uploads in flight are held")
        .text("storage.small_body", "1MiB")
        .set("memory.open_below", 40)
        .set("memory.shut_above", 50)
        .set("memory.critical", 70))
}

/// Uploads of which all but the end has come.
async fn fill(headworks: &Headworks) -> Result<Vec<Raw>> {
    let most = digest::content(1, SIZE - 1);
    let mut streams = Vec::new();
    for number in 0..STREAMS {
        let mut raw = Raw::connect(headworks.listen()).await?;
        raw.send(put(&format!("filled/{number}"), &[&format!("Content-Length: {SIZE}")])).await?;
        raw.send(&most).await?;
        streams.push(raw);
    }
    let in_flight = async || headworks.metrics().await?.sum("headworks_uploads_in_flight", &[]);
    until("all to be in flight", DEADLINE, in_flight, |count| *count >= STREAMS as f64).await?;
    Ok(streams)
}

/// Lowers the limit, bit by bit, until the working set is at least the part `from` of it, and about the part `to`. It shrinks itself on
/// the way: the kernel takes back what the process does not use.
async fn squeeze(headworks: &Headworks, group: &Group, [from, to]: [f64; 2]) -> Result<u64> {
    let mut limit = LIMIT;
    let used = async || headworks.metrics().await?.sum("headworks_memory_used_ratio", &[]);
    for _ in 0..60 {
        let ratio = used().await?;
        if ratio >= from {
            return Ok(limit);
        }
        // No large step, so that nothing is killed that could have been taken back.
        let step = (ratio / to).clamp(0.8, 1.0);
        let less = format!("{:.0}", limit as f64 * step).parse()?;
        // What cannot be taken back now may be in a moment.
        if group.limit(less).is_ok() {
            limit = less;
        }
        sleep(Duration::from_millis(300)).await;
    }
    bail!("the working set is {:.2} of {limit} bytes", used().await?)
}

#[tokio::test]
async fn short_memory_shuts_the_gate_and_page_cache_does_not() -> Result<()> {
    let Some(group) = Group::new(LIMIT)? else { return Ok(()) };
    Headworks::run(config(&group)?, async |headworks| {
        let client = headworks.client();
        let shut = async || {
            let metrics = headworks.metrics().await?;
            metrics.sum("headworks_intake_shut_seconds_total", &[("reason", "memory")])
        };
        // More than the limit passes through, and stays in the cache as far as there is room.
        let mut most = 0;
        for number in 0..12 {
            let content = digest::content(number, 24 << 20);
            client.put(&format!("cache/{number}"), content).send().await?.with_status(201)?;
            most = most.max(group.charged()?);
        }
        ensure!(most > LIMIT / 2, "the cache never had more than {most} bytes");
        ensure!(shut().await? == 0.0, "page cache shut the gate");

        let streams = fill(headworks).await?;
        squeeze(headworks, &group, [SHUT, (SHUT + CRITICAL) / 2.0]).await?;
        until("the gate to shut", DEADLINE, shut, |shut| *shut > 0.0).await?;
        let refused = client.put("refused", "x").send().await?.problem(Code::Refused)?;
        ensure!(refused["reason"] == "memory", "{refused}");
        client.get("/v1/objects").send().await?.with_status(200)?;

        group.limit(LIMIT)?;
        // What was in flight is not refused.
        for mut raw in streams {
            raw.send("x").await?;
            raw.answer().await?.with_status(201)?;
        }
        let again = async || Ok(client.put("again", "x").send().await?.status);
        until("the gate to open", DEADLINE, again, |status| *status == 201).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn at_the_critical_mark_streams_in_flight_are_held_until_it_falls() -> Result<()> {
    let Some(group) = Group::new(LIMIT)? else { return Ok(()) };
    Headworks::run(config(&group)?, async |headworks| {
        const HELD: usize = 8 << 20;
        let content = digest::content(1, HELD);
        let mut raw = Raw::connect(headworks.listen()).await?;
        raw.send(put("held", &[&format!("Content-Length: {HELD}")])).await?;
        raw.send(&content[..HELD / 2]).await?;
        let mut streams = fill(headworks).await?;
        let limit = squeeze(headworks, &group, [CRITICAL, 0.8]).await?;
        let rest = async {
            raw.send(&content[HELD / 2..]).await?;
            raw.answer().await
        };
        let mut rest = std::pin::pin!(rest);
        let early = tokio::time::timeout(Duration::from_secs(2), rest.as_mut()).await;
        ensure!(early.is_err(), "read on with {limit} bytes as the limit: {early:?}");

        // As if half of the others had ended: they have what is over the lower mark.
        drop(streams.split_off(STREAMS / 2));
        group.limit(LIMIT)?;
        let receipt = rest.await?.with_status(201)?;
        ensure!(receipt.json()?["size"] == HELD, "{receipt:?}");
        drop(streams);
        let in_flight = async || headworks.metrics().await?.sum("headworks_uploads_in_flight", &[]);
        until("the others to be gone", DEADLINE, in_flight, |count| *count == 0.0).await?;
        Ok(())
    })
    .await
}
