//! What was put comes back: whole, and by range.

#![expect(missing_docs, reason = "each name says what is promised")]

use super::{Body, SMALL_BODY, Tested, assert_is, content, envelope, frames, key, put, read};
use crate::{
    model::Seal,
    storage::{Error, Source as _},
};

/// Around the borders of small bodies, of pieces and of batches.
const SIZES: [usize; 11] = [
    0,
    1,
    4096,
    SMALL_BODY - 1,
    SMALL_BODY,
    SMALL_BODY + 1,
    (256 << 10) - 1,
    256 << 10,
    (256 << 10) + 1,
    1_000_003,
    9 << 20,
];

pub async fn bodies_of_every_size_come_back_byte_for_byte(store: Tested) {
    for size in SIZES {
        let content = content(size, 1);
        let announced = Body::of(&content);
        let unknown = Body::new(frames(&content, &[16 << 10]));
        for mut body in [announced, unknown] {
            let key = key();
            let seal = store.put(&key, &envelope("a"), &mut body).await.unwrap();
            assert_eq!(seal.size, size as u64);
            assert_eq!(seal, body.seal());
            assert_is(&store, &key, &content).await;
        }
    }
}

pub async fn bodies_in_odd_frames_come_back_byte_for_byte(store: Tested) {
    let content = content(300_001, 2);
    for sizes in [&[1, 7, 4099][..], &[65_537], &[300_001], &[3, 100_000], &[61]] {
        for known in [true, false] {
            let mut body = Body::new(frames(&content, sizes));
            if known {
                body = body.announcing(content.len());
            }
            let key = key();
            store.put(&key, &envelope("a"), &mut body).await.unwrap();
            assert_is(&store, &key, &content).await;
        }
    }
}

pub async fn a_body_that_hesitates_comes_back_byte_for_byte(store: Tested) {
    for size in [0, 1, SMALL_BODY, SMALL_BODY + 1, 600_000] {
        let content = content(size, 3);
        for body in [Body::of(&content), Body::new(frames(&content, &[10_000, 1]))] {
            let key = key();
            let mut body = body.hesitant();
            let seal: Seal = store.put(&key, &envelope("a"), &mut body).await.unwrap();
            assert_eq!(seal.size, size as u64);
            assert_is(&store, &key, &content).await;
        }
    }
}

pub async fn a_range_is_read_exactly(store: Tested) {
    for size in [1, 1000, SMALL_BODY + 1, 700_001] {
        let content = content(size, 4);
        let key = key();
        put(&store, &key, &content).await;
        for range in [0..1, size - 1..size, size / 3..size - size / 3, 0..size, size / 2..size] {
            let wanted = range.start as u64..range.end as u64;
            let (whole, part) = read(&*store, &key, Some(wanted)).await.unwrap();
            assert_eq!(whole, size as u64, "the size is that of the whole");
            assert!(part == content[range.clone()], "{range:?} of {size} bytes");
        }
    }
}

pub async fn what_is_not_there_cannot_be_read(store: Tested) {
    for range in [None, Some(0..1)] {
        let content = store.read(&key(), range).await;
        assert!(matches!(content, Err(Error::NotFound)), "{content:?}");
    }
}
