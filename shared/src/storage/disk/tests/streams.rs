//! Bodies in whatever pieces they come, and many at once.

use bytes::Bytes;
use futures_util::future::join_all;
use proptest::{prelude::*, test_runner::TestRunner};

use super::{FSYNC, NONE, Options, PLENTY, fresh, staged, until};
use crate::{
    limits::Budget,
    model::Hasher,
    storage::{
        Blobs as _, Key,
        conformance::{Body, SMALL_BODY, content, envelope, frames, key, read},
        disk::{DiskBlobs, MAX_BATCH, MIN_BATCH},
    },
};

async fn put(blobs: &DiskBlobs, content: &Bytes, sizes: &[usize]) -> Key {
    let (key, mut body) = (key(), Body::new(frames(content, sizes)));
    blobs.put(&key, &envelope("a"), &mut body).await.unwrap();
    key
}

#[tokio::test]
async fn bodies_come_back_whole_around_every_border_of_a_batch() {
    let (blobs, root) = fresh(NONE, &Budget::new(PLENTY));
    let borders = [MIN_BATCH, SMALL_BODY + MIN_BATCH, MAX_BATCH, SMALL_BODY + MAX_BATCH, 2 * MAX_BATCH];
    for border in borders {
        for size in [border - 1, border, border + 1] {
            let content = content(size, 1);
            // Frames that end on the border, that go over it, and more of them than a batch takes.
            for sizes in [&[MIN_BATCH][..], &[MIN_BATCH - 1], &[MAX_BATCH + 1], &[1 << 10], &[3, 5000]] {
                let key = put(&blobs, &content, sizes).await;
                assert!(read(&blobs, &key, None).await.unwrap().1 == content, "{size} bytes in {sizes:?}");
            }
        }
    }
    assert_eq!(staged(&root), 0);
}

#[tokio::test]
async fn more_streams_than_overlap_come_back_whole() {
    let budget = Budget::new(PLENTY);
    let (blobs, root) = fresh(NONE, &budget);
    let puts = (0..20_u64).map(|seed| {
        let blobs = &blobs;
        async move {
            let content = content(900_000, seed);
            let (key, mut body) = (key(), Body::of(&content).hesitant());
            blobs.put(&key, &envelope("a"), &mut body).await.unwrap();
            assert!(read(blobs, &key, None).await.unwrap().1 == content);
        }
    });
    join_all(puts).await;
    assert_eq!(staged(&root), 0);
    until("leased after all", 0, || budget.used_bytes()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_small_puts_at_once_are_all_readable() {
    let (blobs, root) = fresh(FSYNC, &Budget::new(PLENTY));
    let contents: Vec<_> =
        (0..200).map(|seed| content(1000 + usize::try_from(seed).unwrap(), seed)).collect();
    let keys = join_all(contents.iter().map(|content| put(&blobs, content, &[600]))).await;
    for (key, content) in keys.iter().zip(&contents) {
        assert!(read(&blobs, key, None).await.unwrap().1 == *content);
    }
    assert!(blobs.stat(&keys).await.iter().all(Result::is_ok));
    assert_eq!(staged(&root), 0);
}

/// A size, the sizes of its frames, the border of small bodies, whether it hesitates, and whether its size is announced.
fn bodies() -> impl Strategy<Value = (usize, Vec<usize>, usize, bool, bool)> {
    let sizes = prop_oneof![0..2000_usize, 60_000..70_000_usize, 0..900_000_usize];
    let frames = prop_oneof![
        proptest::collection::vec(1..3000_usize, 1..20),
        proptest::collection::vec(1..300_000_usize, 1..6),
    ];
    (sizes, frames, 0..100_000_usize, any::<bool>(), any::<bool>())
}

#[test]
fn any_body_in_any_frames_comes_back_with_its_size_and_digest() {
    let root = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) };
    TestRunner::new(config)
        .run(&bodies(), |(size, sizes, small_body, hesitant, known)| {
            let content = content(size, 1);
            let mut body = Body::new(frames(&content, &sizes));
            if hesitant {
                body = body.hesitant();
            }
            if known {
                body = body.announcing(size);
            }
            let options = Options { small_body, ..NONE };
            let blobs = DiskBlobs::open(root.path(), options, Budget::new(PLENTY)).unwrap();
            runtime.block_on(comes_back(&blobs, &mut body, &content));
            Ok(())
        })
        .unwrap();
}

async fn comes_back(blobs: &DiskBlobs, body: &mut Body, content: &Bytes) {
    let key = key();
    let seal = blobs.put(&key, &envelope("a"), body).await.unwrap();
    let (size, back) = read(blobs, &key, None).await.unwrap();
    let mut hasher = Hasher::new(false, false);
    hasher.update(&back);
    assert_eq!((size, seal.size), (content.len() as u64, content.len() as u64));
    assert_eq!(seal.digests, hasher.digests());
    assert!(back == *content);
    assert_eq!(blobs.stat(&[key]).await.remove(0).unwrap().seal, Some(seal));
}
