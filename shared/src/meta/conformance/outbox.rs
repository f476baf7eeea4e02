//! The promises of [`Outbox`](crate::meta::Outbox).

#![expect(missing_docs, reason = "each name says what is promised")]

use std::time::Duration;

use super::{Tested, at, failed, scope, store_all};
use crate::{
    meta::{Attempt, Backlog, Delivery, Next, Receiver},
    model::{EventType, Timestamp},
};

const ALL: &str = "https://all.example/hook";
const FAILURES: &str = "https://failures.example/hook";
const LEASE: Duration = Duration::from_secs(30);

fn receivers() -> [Receiver; 2] {
    [
        Receiver { url: ALL.to_owned(), events: Vec::new() },
        Receiver { url: FAILURES.to_owned(), events: vec![EventType::Failed, EventType::Deleted] },
    ]
}

async fn due(store: &Tested, receiver: &str, at: Timestamp) -> Vec<Delivery> {
    store.due(receiver, 100, at, LEASE).await.unwrap()
}

/// Stores `count` objects and relays their events to [`ALL`].
async fn relay_some(store: &Tested, count: usize) {
    store_all(store, &vec!["a"; count]).await;
    assert_eq!(store.relay(&receivers()[..1], 1000, at(1)).await.unwrap(), count);
}

fn attempt(delivery: &Delivery, seconds: u64, next: Next) -> Attempt {
    Attempt {
        event: delivery.event,
        receiver: delivery.receiver.clone(),
        at: at(seconds),
        status: Some(500),
        error: Some("said no".to_owned()),
        took: Duration::from_millis(12),
        next,
    }
}

pub async fn each_receiver_gets_what_it_wants(store: Tested) {
    let [record] = store_all(&store, &["a"]).await.try_into().unwrap();
    store.persist(&[failed("b", "object_missing")], at(1)).await.unwrap();
    store.delete(&scope(), record.id, Some(&record.envelope), at(2)).await.unwrap();
    assert_eq!(store.relay(&receivers(), 100, at(3)).await.unwrap(), 3);
    let told = async |receiver| {
        let deliveries = due(&store, receiver, at(3)).await;
        deliveries.iter().map(told_type).collect::<Vec<_>>()
    };
    assert_eq!(told(ALL).await, ["object.stored", "object.failed", "object.deleted"]);
    assert_eq!(told(FAILURES).await, ["object.failed", "object.deleted"]);
    assert_eq!(told("https://nobody.example/").await, [""; 0]);
}

/// The type in the body; and the rest of the body is as it should be.
fn told_type(delivery: &Delivery) -> String {
    let body: serde_json::Value = serde_json::from_str(&delivery.payload).unwrap();
    assert_eq!(body["id"], delivery.event.to_string());
    assert_eq!(body["time"], delivery.time.to_string());
    assert_eq!(body["source"], "/headworks/acme/web");
    assert_eq!(body["traceparent"], "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    assert_eq!(delivery.tries, 0);
    body["type"].as_str().unwrap().to_owned()
}

pub async fn an_event_that_nobody_wants_is_done_with(store: Tested) {
    store_all(&store, &["a", "b", "c"]).await;
    assert_eq!(store.relay(&receivers()[1..], 2, at(1)).await.unwrap(), 2);
    assert_eq!(store.relay(&[], 100, at(1)).await.unwrap(), 1);
    assert_eq!(store.backlog().await.unwrap(), Backlog::default());
    // Who comes later is not told of it.
    assert_eq!(store.relay(&receivers(), 100, at(1)).await.unwrap(), 0);
    assert_eq!(due(&store, ALL, at(2)).await, []);
}

pub async fn events_are_relayed_once_and_up_to_the_limit(store: Tested) {
    store_all(&store, &["a", "b", "c"]).await;
    for taken in [2, 1, 0] {
        assert_eq!(store.relay(&receivers(), 2, at(1)).await.unwrap(), taken);
    }
    assert_eq!(due(&store, ALL, at(1)).await.len(), 3);
}

pub async fn a_delivery_that_was_taken_is_due_again_after_its_lease(store: Tested) {
    relay_some(&store, 2).await;
    let first = store.due(ALL, 1, at(1), LEASE).await.unwrap();
    let second = store.due(ALL, 9, at(1), LEASE).await.unwrap();
    assert_eq!((first.len(), second.len()), (1, 1));
    assert_ne!(first, second);
    assert_eq!(due(&store, ALL, at(30)).await, []);
    assert_eq!(due(&store, ALL, at(31)).await, [first, second].concat());
}

pub async fn a_delivery_comes_again_when_its_retry_is_due(store: Tested) {
    relay_some(&store, 1).await;
    let [delivery] = due(&store, ALL, at(1)).await.try_into().unwrap();
    store.settle(&[attempt(&delivery, 2, Next::Retry(at(500)))]).await.unwrap();
    assert_eq!(due(&store, ALL, at(499)).await, []);
    let again = due(&store, ALL, at(500)).await;
    assert_eq!(again, [Delivery { tries: 1, ..delivery }]);
}

pub async fn a_delivery_that_ended_stays_so(store: Tested) {
    relay_some(&store, 2).await;
    let [one, two] = due(&store, ALL, at(1)).await.try_into().unwrap();
    store.settle(&[attempt(&one, 2, Next::Delivered), attempt(&two, 2, Next::GivenUp)]).await.unwrap();
    assert_eq!(store.backlog().await.unwrap(), Backlog::default());
    store.settle(&[attempt(&one, 3, Next::Retry(at(4))), attempt(&two, 3, Next::Delivered)]).await.unwrap();
    assert_eq!(store.backlog().await.unwrap(), Backlog::default());
    assert_eq!(due(&store, ALL, at(1000)).await, []);
    assert_eq!(store.log(9).await.unwrap().len(), 2);
}

pub async fn a_disabled_receiver_gets_nothing_until_it_is_enabled(store: Tested) {
    store.set_disabled(ALL, true, at(0)).await.unwrap();
    relay_some(&store, 1).await;
    assert_eq!(store.disabled().await.unwrap(), [ALL]);
    assert_eq!(due(&store, ALL, at(5)).await, []);
    assert_eq!(store.backlog().await.unwrap().pending, 1);
    store.set_disabled(ALL, false, at(6)).await.unwrap();
    assert_eq!(store.disabled().await.unwrap(), [""; 0]);
    assert_eq!(due(&store, ALL, at(7)).await.len(), 1);
}

pub async fn deliveries_that_nobody_takes_are_forgotten_with_their_events(store: Tested) {
    relay_some(&store, 3).await;
    assert_eq!(store.prune(at(1)).await.unwrap(), 0, "they are due since then");
    assert_eq!(store.backlog().await.unwrap().pending, 3);
    assert_eq!(store.prune(at(2)).await.unwrap(), 3);
    assert_eq!(store.backlog().await.unwrap(), Backlog::default());
    assert_eq!(due(&store, ALL, at(9)).await, []);
    assert_eq!(store.log(9).await.unwrap(), []);
}

pub async fn the_log_has_every_try_newest_first(store: Tested) {
    relay_some(&store, 1).await;
    let [delivery] = due(&store, ALL, at(1)).await.try_into().unwrap();
    assert_eq!(store.backlog().await.unwrap(), Backlog { pending: 1, oldest: Some(at(0)) });
    let tries = [Next::Retry(at(3)), Next::Retry(at(5)), Next::GivenUp];
    let attempts: Vec<_> =
        tries.iter().zip([2, 4, 6]).map(|(next, second)| attempt(&delivery, second, *next)).collect();
    for attempt in &attempts {
        store.settle(std::slice::from_ref(attempt)).await.unwrap();
    }
    let log = store.log(9).await.unwrap();
    let numbers: Vec<_> = log.iter().map(|entry| entry.number).collect();
    assert_eq!(numbers, [3, 2, 1]);
    let logged: Vec<_> = log.into_iter().rev().map(|entry| entry.attempt).collect();
    assert_eq!(logged, attempts);
    assert_eq!(store.log(1).await.unwrap()[0].number, 3);
}

pub async fn what_happens_after_everything_was_forgotten_is_still_relayed(store: Tested) {
    relay_some(&store, 3).await;
    let deliveries = due(&store, ALL, at(1)).await;
    assert_eq!(store.prune(at(20)).await.unwrap(), 0, "events that wait are kept");
    let attempts: Vec<_> = deliveries.iter().map(|delivery| attempt(delivery, 2, Next::Delivered)).collect();
    store.settle(&attempts).await.unwrap();
    assert_eq!(store.prune(at(900)).await.unwrap(), 3);
    assert_eq!(store.log(9).await.unwrap(), []);
    store_all(&store, &["b"]).await;
    assert_eq!(store.backlog().await.unwrap(), Backlog { pending: 1, oldest: Some(at(0)) });
    assert_eq!(store.relay(&receivers(), 100, at(901)).await.unwrap(), 1);
    assert_eq!(due(&store, ALL, at(901)).await.len(), 1);
}
