//! Memory does not grow with what passes through.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use headworks_tests::{Config, Headworks, Raw, raw::put};
use http::Method;
use tokio::{
    sync::{Barrier, Semaphore},
    task::JoinSet,
};

const STREAMS: usize = 200;
const MIB: usize = 1 << 20;
const SIZE: usize = 64 * MIB;

/// What every stream sends while all of them are in flight: enough for every buffer on the way to be as full as it will be.
const TOGETHER: usize = 8 * MIB;

/// How many go on to their end at once: so at most 3.4 GB lie on the disk, which is in memory here, instead of 13.
const TO_THE_END: usize = 32;

/// The most that the process may grow by.
const MARGIN: u64 = 64 << 20;

async fn stream(
    headworks: Arc<Headworks>,
    number: usize,
    all: Arc<Barrier>,
    turn: Arc<Semaphore>,
) -> Result<()> {
    let piece = vec![b'x'; 256 << 10];
    let mut raw = Raw::connect(headworks.listen()).await?;
    raw.send(put(&number.to_string(), &[&format!("Content-Length: {SIZE}")])).await?;
    for _ in 0..TOGETHER / piece.len() {
        raw.send(&piece).await?;
    }
    all.wait().await;
    let _turn = turn.acquire().await?;
    for _ in 0..(SIZE - TOGETHER) / piece.len() {
        raw.send(&piece).await?;
    }
    let receipt = raw.answer().await?.with_status(201)?;
    ensure!(receipt.json()?["size"] == SIZE, "{receipt:?}");
    let object = format!("/v1/objects/{}", receipt.text("id")?);
    headworks.client().call(Method::DELETE, &object).send().await?.with_status(204)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_streams_of_64_mib_take_less_than_64_mib() -> Result<()> {
    let config =
        Config::in_memory()?.text("storage.durability", "none").text("ingest.limits.stall_timeout", "5m");
    let headworks = Arc::new(Headworks::start(&config).await?);
    let idle = headworks.memory("VmRSS")?;
    let (all, turn) = (Arc::new(Barrier::new(STREAMS)), Arc::new(Semaphore::new(TO_THE_END)));
    let mut streams = JoinSet::new();
    for number in 0..STREAMS {
        streams.spawn(stream(Arc::clone(&headworks), number, Arc::clone(&all), Arc::clone(&turn)));
    }
    let ended = async {
        while let Some(ended) = streams.join_next().await {
            ended??;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(Duration::from_secs(120), ended).await.context("the streams to end")??;
    let grown = headworks.memory("VmHWM")?.saturating_sub(idle);
    eprintln!("idle {} KiB, at most {} KiB more", idle >> 10, grown >> 10);
    ensure!(grown < MARGIN, "grew by {grown} bytes over {idle}");
    headworks.until_idle().await?;
    Arc::into_inner(headworks).context("still in use")?.stop().await
}
