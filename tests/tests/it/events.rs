//! Events and their webhooks.

use anyhow::{Context as _, Result, ensure};
use headworks_tests::{Config, Headworks, webhook::Receiver};
use http::Method;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

#[tokio::test]
async fn a_stored_object_is_told_once_signed_and_with_the_requests_trace() -> Result<()> {
    let receiver = Receiver::start(&[]).await?;
    let config = Receiver::wired(receiver.address(), Config::new()?, &[]);
    Headworks::run(config, async |headworks| {
        let put = headworks
            .client()
            .put("a.txt", "hello")
            .header("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-01"));
        let id = put.send().await?.with_status(201)?.text("id")?;
        let delivery = receiver.delivered(1).await?.remove(0);
        let event = delivery.event()?;
        ensure!(event["type"] == "object.stored" && event["subject"] == id.as_str(), "{event}");
        ensure!(event["data"]["path"] == "a.txt" && event["data"]["size"] == 5, "{event}");
        ensure!(event["traceparent"].as_str().is_some_and(|trace| trace.contains(TRACE)), "{event}");
        let field = delivery.headers.get("traceparent").context("no traceparent")?.to_str()?;
        ensure!(field.contains(TRACE), "{field}");
        headworks
            .client()
            .call(Method::DELETE, &format!("/v1/objects/{id}"))
            .send()
            .await?
            .with_status(204)?;
        let deleted = receiver.delivered(2).await?.remove(1).event()?;
        ensure!(deleted["type"] == "object.deleted" && deleted["subject"] == id.as_str(), "{deleted}");
        headworks.until_idle().await?;
        ensure!(receiver.deliveries().len() == 2, "{:#?}", receiver.deliveries());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_receiver_that_fails_is_told_the_same_again() -> Result<()> {
    let receiver = Receiver::start(&[500]).await?;
    let config = Receiver::wired(receiver.address(), Config::new()?, &["object.stored"]);
    Headworks::run(config, async |headworks| {
        headworks.client().put("a", "x").send().await?.with_status(201)?;
        receiver.delivered(1).await?;
        let tries = receiver.deliveries();
        ensure!(tries.len() == 2, "{tries:#?}");
        ensure!(tries.iter().all(|one| one.body == tries[0].body), "{tries:#?}");
        ensure!(receiver.event_ids()?.values().all(|ids| ids.len() == 1));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_receiver_that_was_down_is_told_when_it_is_up() -> Result<()> {
    let address = Receiver::start(&[]).await?.address();
    let config = Receiver::wired(address, Config::new()?, &["object.stored"]);
    Headworks::run(config, async |headworks| {
        let id = headworks.client().put("a", "x").send().await?.with_status(201)?.text("id")?;
        let tried =
            async || headworks.metrics().await?.sum("headworks_deliveries_total", &[("outcome", "retried")]);
        headworks_tests::until("a first try", headworks_tests::DEADLINE, tried, |tries| *tries >= 1.0)
            .await?;
        let receiver = Receiver::start_again(address).await?;
        let event = receiver.delivered(1).await?.remove(0).event()?;
        ensure!(event["subject"] == id.as_str(), "{event}");
        Ok(())
    })
    .await
}
