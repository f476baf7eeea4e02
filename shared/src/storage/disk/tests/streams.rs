//! Bodies in whatever pieces they come, and many at once.

use bytes::Bytes;
use futures_util::future::join_all;
use proptest::prelude::*;

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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_body_in_any_frames_comes_back_with_its_size_and_digest(
        size in prop_oneof![0..2000_usize, 60_000..70_000_usize, 0..900_000_usize],
        sizes in prop_oneof![
            proptest::collection::vec(1..3000_usize, 1..20),
            proptest::collection::vec(1..300_000_usize, 1..6),
        ],
        (small_body, hesitant, known) in (0..100_000_usize, any::<bool>(), any::<bool>()),
    ) {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
            let (blobs, _root) = fresh(Options { small_body, ..NONE }, &Budget::new(PLENTY));
            let content = content(size, 1);
            let mut body = Body::new(frames(&content, &sizes));
            if hesitant {
                body = body.hesitant();
            }
            if known {
                body = body.announcing(size);
            }
            let key = key();
            let seal = blobs.put(&key, &envelope("a"), &mut body).await.unwrap();
            let (whole, back) = read(&blobs, &key, None).await.unwrap();
            let mut hasher = Hasher::new(true, false);
            hasher.update(&back);
            assert_eq!((whole, seal.size), (size as u64, size as u64));
            assert_eq!(seal.digests, hasher.digests());
            assert!(back == content);
            assert_eq!(blobs.stat(&[key]).await.remove(0).unwrap().seal, Some(seal));
        });
    }
}
