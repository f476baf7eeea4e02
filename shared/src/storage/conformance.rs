//! What every store of objects promises, as tests: one function for each promise of the docs of [`Blobs`]. They use the trait only,
//! and ask nothing that only a disk can do, so that each backend runs all of them:
//!
//! ```text
//! headworks_shared::storage_conformance!(|| async { (store, what_must_live_as_long) });
//! ```
//!
//! A backend that treats small bodies differently sets its border at [`SMALL_BODY`]: the suite goes right up to it, and over it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a suite of tests")]

mod body;
pub mod listing;
pub mod names;
pub mod puts;
pub mod reads;

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use uuid::Uuid;

pub use body::{Body, End, content, frames};

use super::{Blobs, Error, Head, Key};
use crate::model::{Envelope, Priority, Scope, Timestamp, UploadId};

/// Where the suite expects a border between small bodies and others, if there is one, in bytes.
pub const SMALL_BODY: usize = 64 << 10;

/// The largest piece that a reader is given, in bytes.
const LARGEST_PIECE: usize = 256 << 10;

/// The longest that a test waits for anything.
const PATIENCE: Duration = Duration::from_secs(30);

/// Makes a test of each promise. `$fresh` is called for each, and gives an empty store and whatever must live as long as it.
#[macro_export]
macro_rules! storage_conformance {
    ($fresh:expr) => {
        $crate::storage_conformance! { $fresh;
            reads: bodies_of_every_size_come_back_byte_for_byte, bodies_in_odd_frames_come_back_byte_for_byte,
                a_body_that_hesitates_comes_back_byte_for_byte, a_range_is_read_exactly, what_is_not_there_cannot_be_read;
            puts: a_second_put_is_refused_and_changes_nothing, of_many_puts_at_once_one_wins, one_of_many_large_puts_at_once_wins,
                a_body_that_breaks_off_leaves_nothing_and_its_error_comes_back, a_put_that_is_dropped_leaves_nothing,
                a_marker_is_created_once, of_many_markers_at_once_one_is_created, what_is_visible_can_be_confirmed,
                what_is_deleted_is_gone_and_its_key_free, sweeping_leaves_finished_objects_alone, a_fresh_store_is_well;
            names: an_object_is_its_own_receipt, the_longest_envelope_is_kept, stat_answers_in_the_order_asked,
                an_object_became_visible_when_it_was_put;
            listing: keys_come_in_their_order, a_listing_goes_on_behind_a_key, a_listing_keeps_to_its_prefix,
                an_hours_objects_are_found_by_its_prefixes, nothing_is_listed_of_an_empty_store;
        }
    };
    ($fresh:expr; $($part:ident: $($promise:ident),+;)+) => {
        $($(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                let (store, _alive) = ($fresh)().await;
                $crate::storage::conformance::$part::$promise(store).await;
            }
        )+)+
    };
}

/// The store under test.
pub type Tested = Arc<dyn Blobs>;

/// A moment in an hour of 2026; `hour(n)` is n hours later.
fn hour(hours: u64) -> Timestamp {
    Timestamp::from_unix_ms(1_795_237_920_000).after(Duration::from_secs(hours * 3600))
}

/// A key that no other call gave out.
pub fn key() -> Key {
    key_in(&Scope::default(), hour(0))
}

/// A key of an upload in `scope` that began at `at`, in one of the shards in turn.
fn key_in(scope: &Scope, at: Timestamp) -> Key {
    static GIVEN: AtomicU64 = AtomicU64::new(0);
    let given = GIVEN.fetch_add(1, Ordering::Relaxed);
    let mut random = [7; 10];
    random[2..].copy_from_slice(&given.to_be_bytes());
    Key::object(scope, UploadId::new(at, random))
}

fn marker() -> Key {
    static GIVEN: AtomicU64 = AtomicU64::new(0);
    Key::marker(Uuid::from_u64_pair(GIVEN.fetch_add(1, Ordering::Relaxed), 7))
}

/// An envelope that says no more than it must.
pub fn envelope(path: &str) -> Envelope {
    Envelope {
        scope: Scope::default(),
        path: path.parse().unwrap(),
        content_type: None,
        priority: Priority::Normal,
        only_if_absent: false,
        marker: None,
        request_id: None,
        trace: None,
    }
}

/// Puts `content` under `key`.
async fn put(store: &Tested, key: &Key, content: &Bytes) {
    store.put(key, &envelope("a"), &mut Body::of(content)).await.unwrap();
}

/// All of an object, or of a range of it, and the size of the whole.
///
/// # Errors
/// As [`Blobs::read`].
///
/// # Panics
/// When a piece is empty or too large.
pub async fn read(
    store: &(impl Blobs + ?Sized),
    key: &Key,
    range: Option<Range<u64>>,
) -> Result<(u64, Vec<u8>), Error> {
    let mut read = store.read(key, range).await?;
    let mut all = Vec::new();
    while let Some(piece) = read.chunks.try_next().await? {
        assert!((1..=LARGEST_PIECE).contains(&piece.len()), "a piece of {} bytes", piece.len());
        all.extend_from_slice(&piece);
    }
    Ok((read.size, all))
}

async fn stat(store: &Tested, key: &Key) -> Result<Head, Error> {
    let mut heads = store.stat(std::slice::from_ref(key)).await;
    assert_eq!(heads.len(), 1);
    heads.remove(0)
}

/// Whether the object is there, and is `content` from its first to its last byte.
async fn assert_is(store: &Tested, key: &Key, content: &Bytes) {
    let (size, read) = read(&**store, key, None).await.unwrap();
    assert_eq!(size, content.len() as u64);
    assert!(read == *content, "{} bytes came back other than they were put", read.len());
    assert_eq!(stat(store, key).await.unwrap().size, size);
}

/// Whether nothing is visible under the key, however one looks.
async fn assert_nothing(store: &Tested, key: &Key) {
    let head = stat(store, key).await;
    assert!(matches!(head, Err(Error::NotFound)), "{head:?}");
    let content = store.read(key, None).await;
    assert!(matches!(content, Err(Error::NotFound)), "{content:?}");
    let prefix = if key.upload().is_some() { super::Prefix::objects() } else { super::Prefix::markers() };
    let listed = store.list(&prefix, None, usize::MAX).await.unwrap();
    assert!(listed.iter().all(|listed| listed.key != *key), "{key} is listed");
}
