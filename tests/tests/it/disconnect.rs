//! Clients that go away, at any byte.

use anyhow::{Context as _, Result, ensure};
use fastrand::Rng;
use futures_util::future::try_join_all;
use headworks_tests::{Config, Headworks, Raw, digest, raw::put, seed};

const CLIENTS: usize = 200;

/// Of a queue of 300, uploads of normal priority may fill 270: two rounds that lost their credits would leave no room for a third.
const CAPACITY: usize = 300;

async fn cut(headworks: &Headworks, seed: u64) -> Result<()> {
    let mut random = Rng::with_seed(seed);
    let body = digest::content(seed, random.usize(1..400_000));
    let path = seed.to_string();
    let mut request = if random.bool() {
        put(&path, &[&format!("Content-Length: {}", body.len())]).into_bytes()
    } else {
        format!("{}{:x}\r\n", put(&path, &["Transfer-Encoding: chunked"]), body.len()).into_bytes()
    };
    request.extend_from_slice(&body);
    // A third is cut within the head or its first bytes behind, where states change most.
    let end = if random.u8(..3) == 0 { request.len().min(120) } else { request.len() };
    request.truncate(random.usize(..end));
    let mut raw = Raw::connect(headworks.listen()).await?;
    raw.send(&request).await?;
    if random.bool() { raw.reset() } else { Ok(()) }
}

#[tokio::test]
async fn a_request_that_is_cut_at_any_byte_leaves_nothing() -> Result<()> {
    Headworks::run(Config::new()?, async |headworks| {
        for request in [
            put("a", &["Content-Length: 20"]) + "01234567890123456789",
            put("a", &["Transfer-Encoding: chunked"]) + "a\r\n0123456789\r\n0\r\n\r\n",
        ] {
            let cut = async |end: usize| {
                let mut raw = Raw::connect(headworks.listen()).await?;
                raw.send(&request.as_bytes()[..end]).await?;
                if end.is_multiple_of(2) { raw.reset() } else { Ok(()) }
            };
            try_join_all((0..request.len()).map(cut)).await?;
            headworks.nothing_is_left().await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_go_away_take_all_that_was_theirs_with_them() -> Result<()> {
    let seed = seed::seed()?;
    let config = Config::new()?.set("queue.capacity", CAPACITY).text("storage.durability", "none");
    Headworks::run(config, async |headworks| {
        for round in 0..2 {
            let first = seed.wrapping_add(round * CLIENTS as u64);
            try_join_all((0..CLIENTS as u64).map(|client| cut(headworks, first.wrapping_add(client))))
                .await?;
            headworks.nothing_is_left().await.with_context(|| format!("round {round} of seed {seed}"))?;
        }
        let whole = |client: usize| headworks.client().put(&format!("whole/{client}"), "x").send();
        for answer in try_join_all((0..CLIENTS).map(whole)).await? {
            answer.with_status(201).context("a permit or a credit was lost")?;
        }
        headworks.until_idle().await?;
        let failed = headworks.metrics().await?.sum("headworks_refusals_total", &[])?;
        ensure!(failed == 0.0, "{failed} refusals");
        Ok(())
    })
    .await
}
