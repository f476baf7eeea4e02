//! Deliveries to a real receiver.

use std::{sync::Arc, time::Duration};

use headworks_shared::{
    config::{Span, settings::Webhook},
    meta::{Attempt, Ledger as _, Next, Outbox as _, Record},
    model::{EventId, EventType, JobPayload, Timestamp},
    queue::JobQueue as _,
    shutdown::Stop,
};
use tokio::sync::Notify;

use super::{Receivers, deliver::Deliverer, sign::Secret};
use crate::testing::{House, Receiver, Reply, until};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A house with one receiver.
struct Post {
    house: House,
    deliverer: Deliverer,
}

impl Post {
    fn new(url: String, change: impl FnOnce(&mut House)) -> Self {
        let mut house = House::new(10);
        house.settings.notify.webhooks = vec![webhook(url, Vec::new())];
        change(&mut house);
        let mut receivers = Receivers::new(&house.settings.notify).unwrap();
        let deliverer = Deliverer {
            processor: house.processor(),
            endpoint: receivers.endpoints.remove(0),
            client: receivers.client,
            limits: receivers.limits,
            wake: Arc::new(Notify::new()),
        };
        Self { house, deliverer }
    }

    /// Lets something happen that the receiver wants to know.
    async fn event(&self) -> EventId {
        let job = self.house.store("a.txt", "a").await;
        let JobPayload::ObjectStoredV1 { envelope, seal, .. } = job.payload;
        let record = Record { id: job.id, envelope, seal, failure: None };
        let (meta, now) = (&self.house.meta, self.house.stack.clock.now());
        meta.persist(&[record], now).await.unwrap();
        meta.relay(&[self.deliverer.endpoint.receiver()], 10, now).await.unwrap();
        EventId::of(job.id, EventType::Stored)
    }

    /// Delivers what is due, and says what came of the last try.
    async fn round(&self) -> Attempt {
        assert_eq!(self.deliverer.round(&Stop::new()).await.unwrap(), 1);
        self.house.meta.attempts().pop().unwrap()
    }

    /// How long until the next try.
    fn wait(&self, attempt: &Attempt) -> Duration {
        let Next::Retry(at) = attempt.next else { panic!("no retry: {attempt:?}") };
        at.since(self.house.stack.clock.now())
    }
}

fn webhook(url: String, events: Vec<EventType>) -> Webhook {
    Webhook { url, secret: SECRET.to_owned().into(), events }
}

#[tokio::test]
async fn a_delivery_is_signed_and_keeps_its_trace() {
    let receiver = Receiver::start([Reply::Status(204)]).await;
    let post = Post::new(receiver.url("127.0.0.1"), |_| {});
    let event = post.event().await;
    let attempt = post.round().await;
    assert_eq!((attempt.next, attempt.status, attempt.error), (Next::Delivered, Some(204), None));
    let got = &receiver.received()[0];
    assert_eq!(got.header("content-type"), "application/cloudevents+json");
    assert_eq!(got.header("user-agent"), concat!("headworks/", env!("CARGO_PKG_VERSION")));
    assert_eq!(got.header("webhook-id"), event.to_string());
    let seconds: u64 = got.header("webhook-timestamp").parse().unwrap();
    let at = Timestamp::from_unix_ms(seconds * 1000);
    let signature = Secret::parse(SECRET).unwrap().sign(&event.to_string(), at, &got.body);
    assert_eq!(got.header("webhook-signature"), signature);
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&got.body).unwrap()["type"], "object.stored");
    let trace = got.header("traceparent");
    assert!(trace.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && trace.ends_with("-01"), "{trace}");
    assert!(!trace.contains("00f067aa0ba902b7"), "the parent's span is told as our own: {trace}");
}

#[tokio::test]
async fn a_failed_delivery_is_tried_again_under_the_same_id() {
    let receiver = Receiver::start([Reply::Status(500), Reply::Status(200)]).await;
    let post = Post::new(receiver.url("127.0.0.1"), |_| {});
    post.event().await;
    let failed = post.round().await;
    assert_eq!((failed.status, failed.error.as_deref()), (Some(500), Some("answered 500")));
    let wait = post.wait(&failed);
    assert!((2500..=7500).contains(&wait.as_millis()), "{wait:?}");
    assert_eq!(post.deliverer.round(&Stop::new()).await.unwrap(), 0, "tried before its time");
    post.house.stack.clock.advance(wait);
    assert_eq!(post.round().await.next, Next::Delivered);
    let got = receiver.received();
    assert_eq!((got.len(), got[0].header("webhook-id")), (2, got[1].header("webhook-id")));
}

#[tokio::test]
async fn a_receiver_is_left_alone_as_long_as_it_asks() {
    let receiver = Receiver::start([Reply::With(503, "retry-after", "3600".to_owned())]).await;
    let post = Post::new(receiver.url("127.0.0.1"), |_| {});
    post.event().await;
    let attempt = post.round().await;
    assert_eq!(post.wait(&attempt), Duration::from_secs(3600));
}

#[tokio::test]
async fn a_delivery_is_given_up_after_its_tries() {
    let receiver = Receiver::start([Reply::Status(500)]).await;
    let post = Post::new(receiver.url("127.0.0.1"), |house| house.settings.notify.max_tries = 2);
    post.event().await;
    let first = post.round().await;
    post.house.stack.clock.advance(post.wait(&first));
    assert_eq!(post.round().await.next, Next::GivenUp);
}

#[tokio::test]
async fn gone_disables_a_receiver_until_the_next_start_and_its_deliveries_wait() {
    let receiver = Receiver::start([Reply::Status(410), Reply::Status(200)]).await;
    let post = Post::new(receiver.url("127.0.0.1"), |_| {});
    post.event().await;
    let gone = post.round().await;
    let (meta, clock) = (&post.house.meta, &post.house.stack.clock);
    assert_eq!(meta.disabled().await.unwrap(), std::slice::from_ref(&gone.receiver));
    clock.advance(post.wait(&gone));
    assert_eq!(post.deliverer.round(&Stop::new()).await.unwrap(), 0);
    post.deliverer.enable().await;
    assert_eq!(post.round().await.next, Next::Delivered);
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let other = Receiver::start([Reply::Status(200)]).await;
    let receiver = Receiver::start([Reply::With(307, "location", other.url("127.0.0.1"))]).await;
    let post = Post::new(receiver.url("127.0.0.1"), |_| {});
    post.event().await;
    let attempt = post.round().await;
    assert_eq!((attempt.status, other.received().len()), (Some(307), 0));
    post.wait(&attempt);
}

#[tokio::test]
async fn a_name_with_a_private_address_is_refused() {
    let receiver = Receiver::start([Reply::Status(200)]).await;
    let post = Post::new(receiver.url("localhost"), |house| house.settings.notify.allow_private = false);
    post.event().await;
    let attempt = post.round().await;
    let error = attempt.error.as_deref().unwrap_or_default();
    assert!(error.contains("private address"), "{error}");
    assert_eq!((attempt.status, receiver.received().len()), (None, 0));
}

#[tokio::test]
async fn a_receiver_that_never_answers_costs_one_timeout() {
    let receiver = Receiver::start([Reply::Silence]).await;
    let brief = |house: &mut House| house.settings.notify.timeout = Span(Duration::from_millis(100));
    let post = Post::new(receiver.url("127.0.0.1"), brief);
    post.event().await;
    let attempt = post.round().await;
    assert_eq!(attempt.error.as_deref(), Some("no answer within 100ms"));
    post.wait(&attempt);
}

#[tokio::test]
async fn an_answer_without_end_is_not_read_to_its_end() {
    let receiver = Receiver::start([Reply::Endless]).await;
    let post = Post::new(receiver.url("127.0.0.1"), |_| {});
    post.event().await;
    assert_eq!(post.round().await.next, Next::Delivered);
}

#[tokio::test]
async fn after_a_stop_no_try_is_begun() {
    let receiver = Receiver::start([Reply::Status(200)]).await;
    let post = Post::new(receiver.url("127.0.0.1"), |_| {});
    post.event().await;
    let stop = Stop::new();
    stop.cancel();
    post.deliverer.round(&stop).await.unwrap();
    assert_eq!((receiver.received().len(), post.house.meta.attempts().len()), (0, 0));
}

#[tokio::test]
async fn each_receiver_gets_what_it_wants_soon_after_it_happened() {
    let all = Receiver::start([Reply::Status(200)]).await;
    let failures = Receiver::start([Reply::Status(200)]).await;
    let mut house = House::new(10);
    house.settings.notify.webhooks = vec![
        webhook(all.url("127.0.0.1"), Vec::new()),
        webhook(failures.url("127.0.0.1"), vec![EventType::Failed]),
    ];
    house.start();
    house.upload(["a.txt".to_owned()]).await;
    let mut missing = house.store("b.txt", "b").await;
    let JobPayload::ObjectStoredV1 { seal, .. } = &mut missing.payload;
    seal.size += 1;
    house.queue.push(missing, None).await.unwrap();
    until("deliveries", || (all.received().len(), failures.received().len()), |got| *got == (2, 1)).await;
    assert_eq!(failures.received()[0].path, "/hook");
    house.drain().await;
    assert!(house.meta.attempts().iter().all(|attempt| attempt.next == Next::Delivered));
    let metrics = house.stack.registry.render();
    assert!(metrics.contains(r#"headworks_deliveries_total{outcome="delivered"} 3"#), "{metrics}");
}
