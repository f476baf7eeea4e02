//! Clients that send nothing, stall or trickle.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use headworks_shared::http::Code;
use headworks_tests::{Config, DEADLINE, Headworks, Raw, raw::put};

#[tokio::test]
async fn a_connection_that_sends_nothing_is_closed_without_a_word() -> Result<()> {
    let config = Config::new()?.text("ingest.limits.header_timeout", "1s");
    Headworks::run(config, async |headworks| {
        let mut raw = Raw::connect(headworks.listen()).await?;
        let said = raw.closed(DEADLINE).await?;
        ensure!(said.is_empty(), "it said {:?}", String::from_utf8_lossy(&said));
        // Also between two requests.
        let mut raw = Raw::connect(headworks.listen()).await?;
        raw.send(b"GET /v1/objects HTTP/1.1\r\nHost: a\r\n\r\n").await?;
        raw.answer().await?.with_status(200)?;
        ensure!(raw.closed(DEADLINE).await?.is_empty());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_head_that_does_not_come_to_its_end_is_too_slow() -> Result<()> {
    let config = Config::new()?.text("ingest.limits.header_timeout", "1s");
    Headworks::run(config, async |headworks| {
        let mut raw = Raw::connect(headworks.listen()).await?;
        raw.send(b"PUT /v1/files/a HTTP/1.1\r\nHost: a\r\nContent-").await?;
        raw.answer().await?.problem(Code::TooSlow)?;
        raw.closed(DEADLINE).await?;
        // A byte now and then does not help.
        let mut raw = Raw::connect(headworks.listen()).await?;
        raw.send(b"PUT /v1/files/a HTTP/1.1\r\nHost: a\r\nX: ").await?;
        raw.trickle(b"y", Duration::from_millis(100), DEADLINE).await?.problem(Code::TooSlow)?;
        headworks.nothing_is_left().await
    })
    .await
}

#[tokio::test]
async fn a_body_that_stalls_is_too_slow() -> Result<()> {
    let config = Config::new()?.text("ingest.limits.stall_timeout", "1s");
    Headworks::run(config, async |headworks| {
        let chunked = put("a", &["Transfer-Encoding: chunked"]) + "15f90\r\n";
        let heads = [put("a", &["Content-Length: 200000"]), chunked];
        let stall = async |head: &str, sent: usize| {
            let mut raw = Raw::connect(headworks.listen()).await?;
            raw.send(head).await?;
            raw.send(vec![b'x'; sent]).await?;
            raw.answer().await?.problem(Code::TooSlow).with_context(|| format!("{sent} bytes of {head}"))?;
            raw.closed(DEADLINE).await
        };
        let all = heads.iter().flat_map(|head| [0, 1, 80_000].map(|sent| stall(head, sent)));
        try_join_all(all).await?;
        headworks.nothing_is_left().await
    })
    .await
}

#[tokio::test]
async fn a_body_that_trickles_below_the_least_rate_is_too_slow() -> Result<()> {
    let config = Config::new()?.text("ingest.limits.min_rate", "100KiB");
    Headworks::run(config, async |headworks| {
        let mut raw = Raw::connect(headworks.listen()).await?;
        raw.send(put("a", &["Content-Length: 1000000000"])).await?;
        // 10 KiB a second: never a stall, and never enough. The grace is 10 s, and the window 30 s.
        let answer = raw.trickle(&[b'x'; 1024], Duration::from_millis(100), Duration::from_secs(60)).await?;
        answer.problem(Code::TooSlow)?;
        headworks.nothing_is_left().await
    })
    .await
}
