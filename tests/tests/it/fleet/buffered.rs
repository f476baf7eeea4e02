//! What `headworks_buffered_bytes` tells is what the process holds.

use anyhow::{Result, ensure};
use bytes::Bytes;
use headworks_tests::{
    DEADLINE, Fleet, Raw,
    fleet::{Kind, Store},
    raw::put,
    until,
};

/// Bodies of unknown length, each of which stops short of the end of its first part of 16 MiB: as many as may be gathered at once.
const BODIES: usize = 6;
const PIECES: usize = 15;
const PIECE: usize = 1 << 20;

/// What may be there beside: connections, frames that are read and not gathered yet, and what the allocator keeps for a moment.
const BESIDE: u64 = 24 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_memory_that_is_told_is_the_memory_that_is_held() -> Result<()> {
    let mut fleet = Fleet::start(Store::S3).await?;
    let ingest = fleet.alive(Kind::Ingest).next().expect("an ingest");
    ingest.client().put("before", "hello").send().await?.with_status(201)?;
    let before = ingest.memory("VmRSS")?;
    let chunk = [format!("{PIECE:x}\r\n").as_bytes(), &[b'x'; PIECE], b"\r\n"].concat();
    let mut bodies = Vec::new();
    for number in 0..BODIES {
        let mut raw = Raw::connect(ingest.listen()).await?;
        raw.send(put(&format!("held/{number}"), &["Transfer-Encoding: chunked"])).await?;
        for _ in 0..PIECES {
            raw.send(&chunk).await?;
        }
        bodies.push(raw);
    }
    let sent = BODIES * PIECES * PIECE;
    let told = async || ingest.metrics().await?.sum("headworks_buffered_bytes", &[]);
    let told = until("all that was sent to be told", DEADLINE, told, |told| *told >= sent as f64).await?;
    let grown = ingest.memory("VmRSS")?.saturating_sub(before);
    ensure!(grown as f64 > told * 0.8, "{told} bytes are told, and only {grown} are held");
    ensure!(grown as f64 - told < BESIDE as f64 + told * 0.1, "{told} bytes are told, and {grown} are held");
    for mut raw in bodies {
        raw.send(Bytes::from_static(b"0\r\n\r\n")).await?;
        raw.answer().await?.with_status(201)?;
    }
    let told = async || ingest.metrics().await?.sum("headworks_buffered_bytes", &[]);
    until("nothing to be held", DEADLINE, told, |told| *told == 0.0).await?;
    Ok(())
}
