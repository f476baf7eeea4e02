//! The end: draining, and ending at once.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use headworks_tests::{Client, Config, DEADLINE, Headworks, Raw, process::audit, raw::put, until};

async fn half_an_upload(headworks: &Headworks) -> Result<Raw> {
    let mut upload = Raw::connect(headworks.listen()).await?;
    upload.send(put("a", &["Content-Length: 10", "Expect: 100-continue"])).await?;
    ensure!(upload.wanted().await?.is_none(), "it was refused");
    upload.send(b"01234").await?;
    Ok(upload)
}

/// Nobody new is let in: refused with a 503, or not even connected.
async fn no_entry(client: Client) -> Result<bool> {
    let connected = client.put("b", "x").send().await;
    Ok(connected.map_or(true, |answer| answer.status == 503))
}

#[tokio::test]
async fn an_upload_in_flight_gets_its_answer() -> Result<()> {
    let config = Config::new()?;
    let mut headworks = Headworks::start(&config).await?;
    let mut upload = half_an_upload(&headworks).await?;
    headworks.terminate()?;
    let client = headworks.client();
    until("the door to shut", DEADLINE, async || no_entry(client).await, |shut| *shut).await?;
    let ready = headworks.admin().get("/readyz").send().await;
    ensure!(ready.map_or(true, |answer| answer.status == 503), "it says that it is ready");
    upload.send(b"56789").await?;
    let receipt = upload.answer().await?.with_status(201)?;
    upload.closed(DEADLINE).await?;
    drop(upload);
    let status = headworks.exited(DEADLINE).await?;
    ensure!(status.success(), "{status}");
    headworks.check_log()?;
    audit(&config)?;
    Headworks::run(config, async |headworks| {
        let content = format!("/v1/objects/{}/content", receipt.text("id")?);
        let there = headworks.client().get(&content).send().await?.with_status(200)?;
        ensure!(there.body == "0123456789", "{there:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() -> Result<()> {
    let config = Config::new()?;
    let mut headworks = Headworks::start(&config).await?;
    let mut upload = half_an_upload(&headworks).await?;
    headworks.terminate()?;
    let client = headworks.client();
    until("the door to shut", DEADLINE, async || no_entry(client).await, |shut| *shut).await?;
    headworks.terminate()?;
    // The grace is a minute; nobody waits for it.
    headworks.exited(Duration::from_secs(5)).await.context("a second signal")?;
    ensure!(upload.closed(DEADLINE).await?.is_empty(), "the upload was answered");
    audit(&config)
}

#[tokio::test]
async fn an_upload_that_does_not_end_is_not_waited_for_longer_than_the_grace() -> Result<()> {
    let config = Config::new()?.text("shutdown.grace", "1s").announce("grace");
    let mut headworks = Headworks::start(&config).await?;
    let mut upload = half_an_upload(&headworks).await?;
    headworks.terminate()?;
    headworks.exited(DEADLINE).await?;
    headworks.check_log()?;
    let said = upload.closed(DEADLINE).await?;
    ensure!(!said.starts_with(b"HTTP/1.1 2"), "the upload was acknowledged");
    Headworks::run(config, async |headworks| headworks.nothing_is_left().await).await
}
