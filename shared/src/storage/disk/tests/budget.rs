//! Every byte that is held is leased, from before it is read until it is written.

use std::sync::Arc;

use futures_util::{FutureExt as _, future::join_all};
use tokio::sync::{Notify, OwnedRwLockWriteGuard, RwLock};

use super::{FSYNC, NONE, PLENTY, fresh, staged, until};
use crate::{
    limits::Budget,
    storage::{
        Blobs as _, BodyError,
        conformance::{Body, End, SMALL_BODY, content, envelope, frames, key, read},
        disk::{DiskBlobs, SYNCING},
    },
};

/// What a stream holds that waits for its next bytes.
const SMALL_LEASE: usize = 16 << 10;

fn stalled() -> End {
    End::Stalled(Arc::new(Notify::new()))
}

/// Keeps every thread busy that waits for the disk, until the guard is dropped.
async fn block_lanes(blobs: &DiskBlobs) -> OwnedRwLockWriteGuard<()> {
    let lock = Arc::new(RwLock::new(()));
    let guard = Arc::clone(&lock).write_owned().await;
    for _ in 0..SYNCING {
        let lock = Arc::clone(&lock);
        drop(blobs.lanes.run(move || {
            drop(lock.blocking_read());
            Ok(())
        }));
    }
    guard
}

#[tokio::test]
async fn a_stream_that_stalls_holds_no_more_than_its_small_lease() {
    // (what came, what was announced, what is held then)
    let cases = [
        (0, None, SMALL_LEASE),
        (300_000, None, SMALL_LEASE),
        (2_000_000, Some(3_000_000), SMALL_LEASE),
        (0, Some(3_000_000), SMALL_LEASE),
        (1000, Some(40_000), 40 << 10),
        (0, Some(900), 1 << 10),
    ];
    for (came, announced, held) in cases {
        let budget = Budget::new(PLENTY);
        let (blobs, root) = fresh(NONE, &budget);
        let content = content(came, 1);
        let mut body = Body::new(frames(&content, &[16 << 10])).ending(stalled());
        if let Some(bytes) = announced {
            body = body.announcing(bytes);
        }
        let (key, envelope) = (key(), envelope("a"));
        tokio::select! {
            outcome = blobs.put(&key, &envelope, &mut body) => panic!("{outcome:?}"),
            () = until("leased", held, || budget.used_bytes()) => {}
        }
        until("leased after all", 0, || budget.used_bytes()).await;
        until("staged files", 0, || staged(&root)).await;
    }
}

#[tokio::test]
async fn bytes_are_leased_until_they_are_written() {
    let budget = Budget::new(PLENTY);
    let (blobs, _root) = fresh(FSYNC, &budget);
    let blocked = block_lanes(&blobs).await;
    let content = content(200 << 10, 1);
    let (key, envelope) = (key(), envelope("a"));
    let mut body = Body::new(frames(&content, &[16 << 10])).announcing(1 << 20).ending(stalled());
    let mut put = blobs.put(&key, &envelope, &mut body);
    // Nothing of it can be written yet: what it read stays leased, and so does room for what comes next.
    assert!((&mut put).now_or_never().is_none());
    assert!(budget.used_bytes() >= (200 << 10) + SMALL_LEASE, "{} bytes", budget.used_bytes());
    drop(put);
    assert_eq!(budget.used_bytes(), 200 << 10, "what waits to be written is still held");
    drop(blocked);
    until("leased after all", 0, || budget.used_bytes()).await;
}

#[tokio::test]
async fn a_small_body_is_leased_until_it_is_written() {
    let budget = Budget::new(PLENTY);
    let (blobs, root) = fresh(FSYNC, &budget);
    let blocked = block_lanes(&blobs).await;
    let content = content(40 << 10, 1);
    let (key, envelope, mut body) = (key(), envelope("a"), Body::of(&content));
    let mut put = blobs.put(&key, &envelope, &mut body);
    assert!((&mut put).now_or_never().is_none());
    assert_eq!(budget.used_bytes(), 40 << 10);
    drop(put);
    assert_eq!(budget.used_bytes(), 40 << 10, "what waits to be written is still held");
    drop(blocked);
    until("leased after all", 0, || budget.used_bytes()).await;
    until("staged files", 0, || staged(&root)).await;
}

#[tokio::test]
async fn what_was_leased_is_given_back_however_a_put_ends() {
    for options in [NONE, FSYNC] {
        let budget = Budget::new(PLENTY);
        let (blobs, root) = fresh(options, &budget);
        for size in [0, 1, SMALL_BODY, SMALL_BODY + 1, 700_000] {
            let content = content(size, 1);
            let key = key();
            blobs.put(&key, &envelope("a"), &mut Body::of(&content)).await.unwrap();
            until("leased after success", 0, || budget.used_bytes()).await;
            assert!(blobs.put(&key, &envelope("a"), &mut Body::of(&content)).await.is_err());
            until("leased after a refusal", 0, || budget.used_bytes()).await;
            let mut broken = Body::of(&content).ending(End::Broken(BodyError::Malformed("a test")));
            assert!(blobs.put(&key, &envelope("a"), &mut broken).await.is_err());
            until("leased after an error", 0, || budget.used_bytes()).await;
            until("staged files", 0, || staged(&root)).await;
        }
    }
}

#[tokio::test]
async fn a_small_budget_slows_streams_down_and_stops_none() {
    let budget = Budget::new(100 << 10);
    let (blobs, root) = fresh(NONE, &budget);
    let puts = (0..24_u64).map(|seed| {
        let (blobs, budget) = (&blobs, &budget);
        async move {
            let content = content(if seed % 2 == 0 { 400_000 } else { 60_000 }, seed);
            let (key, mut body) = (key(), Body::of(&content).hesitant());
            blobs.put(&key, &envelope("a"), &mut body).await.unwrap();
            assert!(budget.used_bytes() <= budget.limit_bytes());
            assert!(read(blobs, &key, None).await.unwrap().1 == content);
        }
    });
    tokio::time::timeout(super::PATIENCE, join_all(puts)).await.unwrap();
    until("leased after all", 0, || budget.used_bytes()).await;
    until("staged files", 0, || staged(&root)).await;
}
