//! What is known of an object: its size, its envelope, its seal and its age.

#![expect(missing_docs, reason = "each name says what is promised")]

use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

use super::{Body, Tested, content, envelope, key, marker, put, stat};
use crate::{
    clock::Clock,
    model::{Envelope, Priority, Scope},
    storage::{Error, Prefix},
};

/// How far a store's clock may be from ours.
const CLOCKS_APART: Duration = Duration::from_secs(600);

/// An envelope that says all there is to say.
fn full(path: &str) -> Envelope {
    Envelope {
        scope: Scope::new(&"o".repeat(64), &"p".repeat(64)).unwrap(),
        path: path.parse().unwrap(),
        content_type: Some(format!("application/{}; charset=\"utf-8\"", "x".repeat(200))),
        priority: Priority::High,
        only_if_absent: true,
        marker: Some(Uuid::from_u128(7)),
        request_id: Some("r".repeat(128)),
        trace: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().unwrap()),
    }
}

async fn assert_keeps(store: &Tested, envelope: Envelope) {
    for size in [0, 100_000] {
        let (key, content) = (key(), content(size, 1));
        let seal = store.put(&key, &envelope, &mut Body::of(&content).with_sha256()).await.unwrap();
        assert!(seal.digests.sha256.is_some());
        let head = stat(store, &key).await.unwrap();
        assert_eq!((head.size, head.envelope), (size as u64, Some(envelope.clone())));
        assert!(head.seal.is_none_or(|kept| kept == seal), "the seal is kept as it was, or not at all");
    }
}

pub async fn an_object_is_its_own_receipt(store: Tested) {
    for path in ["a", "photos/2026/Übersicht ☂ – 写真 🦀.jpg", "a b/%41/\"quoted\"/back\\slash", "e\u{301}"]
    {
        assert_keeps(&store, envelope(path)).await;
        assert_keeps(&store, full(path)).await;
    }
}

pub async fn the_longest_envelope_is_kept(store: Tested) {
    let crabs = "🦀".repeat(256);
    let umbrellas = format!("{}/{}", "☂".repeat(170), "☂".repeat(171));
    let quotes = "\"".repeat(1024);
    for path in [&"a".repeat(1024), &crabs, &umbrellas, &quotes] {
        assert_eq!(path.len(), 1024);
        assert_keeps(&store, full(path)).await;
    }
}

pub async fn stat_answers_in_the_order_asked(store: Tested) {
    let keys: Vec<_> = (0..20).map(|_| key()).collect();
    for (number, key) in keys.iter().enumerate().filter(|(number, _)| number % 3 != 1) {
        put(&store, key, &content(number, 1)).await;
    }
    let mark = marker();
    store.create(&mark, Bytes::from_static(b"abc")).await.unwrap();
    let asked: Vec<_> = keys.iter().rev().chain([&mark, &keys[0], &keys[0]]).cloned().collect();
    let sizes: Vec<_> = store
        .stat(&asked)
        .await
        .into_iter()
        .map(|head| match head {
            Ok(head) => Some(head.size),
            Err(Error::NotFound) => None,
            Err(error) => panic!("{error:?}"),
        })
        .collect();
    let there = |number: u64| (number % 3 != 1).then_some(number);
    let wanted: Vec<_> = (0..20).rev().map(there).chain([Some(3), Some(0), Some(0)]).collect();
    assert_eq!(sizes, wanted);
    assert!(store.stat(&[]).await.is_empty());
}

pub async fn an_object_became_visible_when_it_was_put(store: Tested) {
    let (key, now) = (key(), Clock::system().now());
    put(&store, &key, &content(10, 1)).await;
    let listed = store.list(&Prefix::objects(), None, 10).await.unwrap();
    for modified in [stat(&store, &key).await.unwrap().modified, listed[0].modified] {
        let apart = modified.since(now).max(now.since(modified));
        assert!(apart < CLOCKS_APART, "{apart:?} from now");
    }
}
