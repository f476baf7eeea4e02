//! Refusals: before a byte of the body, with a reason and a time to come back.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use headworks_shared::http::Code;
use headworks_tests::{Answer, Config, DEADLINE, Headworks, Raw, raw::put, until};
use http::Method;

const EXPECT: &str = "Expect: 100-continue";

/// An upload of five bytes that were not sent yet: either it is wanted, or there is an answer.
async fn begin(address: SocketAddr, path: &str, priority: u8) -> Result<Result<Raw, Answer>> {
    let mut raw = Raw::connect(address).await?;
    raw.send(put(path, &["Content-Length: 5", &format!("Priority: u={priority}"), EXPECT])).await?;
    Ok(match raw.wanted().await? {
        None => Ok(raw),
        Some(answer) => Err(answer),
    })
}

async fn end(mut raw: Raw) -> Result<()> {
    raw.send("hello").await?;
    raw.answer().await?.with_status(201)?;
    Ok(())
}

fn refused(answer: &Answer, reason: &str) -> Result<()> {
    let problem = answer.problem(Code::Refused)?;
    ensure!(problem["reason"] == reason && problem["retry_after_s"].is_u64(), "{problem}");
    ensure!(answer.interim.is_empty(), "the body was asked for: {answer:?}");
    Ok(())
}

#[tokio::test]
async fn too_many_at_once_are_told_when_to_come_back() -> Result<()> {
    let config = Config::new()?.set("ingest.limits.streams", 1).text("ingest.limits.hold", "1s");
    Headworks::run(config, async |headworks| {
        let first = begin(headworks.listen(), "first", 3).await?.ok().context("the first was refused")?;
        let second = begin(headworks.listen(), "second", 3).await?.err().context("the second was let in")?;
        refused(&second, "streams")?;
        end(first).await?;
        headworks.client().put("second", "hello").send().await?.with_status(201)?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_queue_that_has_no_room_left_takes_only_what_it_has_promised() -> Result<()> {
    const CAPACITY: usize = 20;
    let config = Config::new()?.set("queue.capacity", CAPACITY).text("ingest.limits.hold", "1s");
    Headworks::run(config, async |headworks| {
        let mut begun = Vec::new();
        let last = loop {
            match begin(headworks.listen(), &format!("q/{}", begun.len()), 3).await? {
                Ok(raw) => begun.push(raw),
                Err(answer) => break answer,
            }
            ensure!(begun.len() <= CAPACITY, "more uploads than the queue has room for");
        };
        refused(&last, "queue")?;
        ensure!(!begun.is_empty(), "not one was let in");
        // What is urgent has places of its own.
        end(begin(headworks.listen(), "urgent", 0).await?.map_err(|answer| anyhow::anyhow!("{answer:?}"))?)
            .await?;
        for raw in begun {
            end(raw).await.context("an upload that was let in")?;
        }
        headworks.until_idle().await?;
        headworks.client().put("later", "hello").send().await?.with_status(201)?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_machine_short_of_memory_takes_nothing_new_and_is_read_all_the_same() -> Result<()> {
    let config = Config::new()?.announce("intake shut");
    // Every machine has more than these in use.
    let config = config.set("memory.open_below", 1).set("memory.shut_above", 2);
    Headworks::run(config, async |headworks| {
        let open = async || headworks.metrics().await?.sum("headworks_intake_open", &[]);
        until("the gate to shut", DEADLINE, open, |open| *open == 0.0).await?;
        for _ in 0..2 {
            let answer = begin(headworks.listen(), "a", 3).await?.err().context("it was let in")?;
            refused(&answer, "memory")?;
        }
        headworks.client().get("/v1/objects").send().await?.with_status(200)?;
        headworks.admin().get("/readyz").send().await?.with_status(200)?;
        headworks.nothing_is_left().await
    })
    .await
}

#[tokio::test]
async fn intake_is_paused_and_resumed_by_hand() -> Result<()> {
    let config = Config::new()?.announce("intake shut");
    Headworks::run(config, async |headworks| {
        let (client, admin) = (headworks.client(), headworks.admin());
        let gate = |open: bool| {
            let body = format!(r#"{{"open":{open},"reason":"operator"}}"#);
            admin.call(Method::PUT, "/v1/gate").header("content-type", "application/json").body(body)
        };
        ensure!(gate(false).send().await?.status < 300);
        let refused = client.put("a", "x").send().await?;
        refused.problem(Code::Refused)?;
        let answer = begin(headworks.listen(), "a", 0).await?.err().context("it was let in")?;
        self::refused(&answer, "operator")?;
        let shut = async || {
            let metrics = headworks.metrics().await?;
            metrics.sum("headworks_intake_shut_seconds_total", &[("reason", "operator")])
        };
        until("the time to be counted", DEADLINE, shut, |shut| *shut > 0.4).await?;
        ensure!(gate(true).send().await?.status < 300);
        client.put("a", "x").send().await?.with_status(201)?;
        Ok(())
    })
    .await
}
