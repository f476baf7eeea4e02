//! What every metadata store promises, as tests: one function for each promise of the traits' docs. They use the traits only, so
//! that each backend runs all of them:
//!
//! ```text
//! headworks_shared::meta_conformance!(|| async { (store, what_must_live_as_long) });
//! ```

#![expect(clippy::unwrap_used, reason = "a suite of tests")]

pub mod audit;
pub mod catalog;
pub mod dead_letters;
pub mod leaders;
pub mod ledger;
pub mod outbox;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::{Record, Store, Verdict};
use crate::model::{
    Crc64, Digests, Envelope, Object, Priority, Scope, Seal, Sha256Digest, Timestamp, UploadId,
};

/// Makes a test of each promise. `$fresh` is called for each, and gives an empty store and whatever must live as long as it.
#[macro_export]
macro_rules! meta_conformance {
    ($fresh:expr) => {
        $crate::meta_conformance! { $fresh;
            ledger: an_upload_becomes_an_object, verdicts_come_in_the_order_of_the_batch, a_batch_may_be_repeated,
                a_known_upload_stays_whatever_the_record_says, an_upload_that_is_in_a_batch_twice_counts_once,
                records_of_one_path_get_versions_in_their_order, a_failed_upload_leaves_its_reason_and_nothing_else,
                a_path_that_had_to_be_free_fails_the_upload_when_it_is_taken, one_bad_record_rejects_the_whole_batch,
                an_empty_batch_is_no_error, overlapping_batches_at_once_count_each_upload_once,
                a_deletion_takes_the_object_and_its_usage_and_is_told, deleting_again_changes_nothing,
                a_failed_upload_was_gone_before, another_scope_cannot_delete, a_deletion_may_come_before_its_job,
                a_deleted_version_uncovers_the_one_before_and_its_number_is_not_given_again,
                the_bytes_of_ended_uploads_are_asked_for_until_they_are_gone, states_come_in_the_order_asked,
                only_what_is_over_and_old_is_forgotten, how_far_was_swept_is_remembered,
                which_queue_was_seen_is_remembered;
            catalog: an_upload_without_an_end_is_not_found, another_scope_finds_nothing,
                a_listing_has_the_newest_of_each_path_in_the_order_of_bytes, a_listing_goes_on_behind_its_last_page,
                a_prefix_is_a_beginning_and_not_a_pattern, a_listing_leaves_out_what_is_deleted,
                versions_come_newest_first, a_scope_that_nobody_used_uses_nothing;
            outbox: each_receiver_gets_what_it_wants, an_event_that_nobody_wants_is_done_with,
                events_are_relayed_once_and_up_to_the_limit, a_delivery_that_was_taken_is_due_again_after_its_lease,
                a_delivery_comes_again_when_its_retry_is_due, a_delivery_that_ended_stays_so,
                a_disabled_receiver_gets_nothing_until_it_is_enabled,
                deliveries_that_nobody_takes_are_forgotten_with_their_events, the_log_has_every_try_newest_first,
                what_happens_after_everything_was_forgotten_is_still_relayed;
            dead_letters: a_letter_is_kept_as_it_was, burying_again_replaces_the_letter, letters_come_newest_first,
                pages_of_letters_hold_each_once_and_none_that_was_buried_meanwhile, a_letter_is_discarded_once,
                a_letter_that_was_buried_anew_is_not_discarded_with_the_old_one;
            audit: the_ledger_comes_in_the_order_of_ids, a_store_in_use_does_not_contradict_itself,
                each_end_is_one_event;
            leaders: a_lead_stands_until_it_is_given_back;
        }
    };
    ($fresh:expr; $($part:ident: $($promise:ident),+;)+) => {
        $($(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                let (store, _alive) = $fresh().await;
                $crate::meta::conformance::$part::$promise(store).await;
            }
        )+)+
    };
}

/// The store under test.
pub type Tested = Arc<dyn Store>;

/// Some day in 2026; `at(n)` is n seconds later.
fn at(seconds: u64) -> Timestamp {
    Timestamp::from_unix_ms(1_795_237_920_000).after(Duration::from_secs(seconds))
}

/// An id that sorts behind all that were given out before.
fn id() -> UploadId {
    static GIVEN: AtomicU64 = AtomicU64::new(0);
    let given = GIVEN.fetch_add(1, Ordering::Relaxed);
    UploadId::new(at(0).after(Duration::from_millis(given)), [7; 10])
}

fn scope() -> Scope {
    Scope::new("acme", "web").unwrap()
}

fn other_scope() -> Scope {
    Scope::new("acme", "mobile").unwrap()
}

fn envelope(path: &str) -> Envelope {
    Envelope {
        scope: scope(),
        path: path.parse().unwrap(),
        content_type: Some("image/jpeg".to_owned()),
        priority: Priority::Normal,
        only_if_absent: false,
        marker: None,
        request_id: None,
        trace: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().unwrap()),
    }
}

fn seal(size: u64) -> Seal {
    let digests =
        Digests { crc64nvme: Crc64(0xae8b_1486_0a79_9888 ^ size), sha256: Some(Sha256Digest([0xab; 32])) };
    Seal { size, digests, sniffed_type: Some("image/png".to_owned()) }
}

/// An upload of `size` bytes to `path`.
fn upload(path: &str, size: u64) -> Record {
    Record { id: id(), envelope: envelope(path), seal: seal(size), failure: None }
}

fn failed(path: &str, reason: &'static str) -> Record {
    Record { failure: Some(reason), ..upload(path, 5) }
}

/// Stores uploads of a byte each, one after the other.
async fn store_all(store: &Tested, paths: &[&str]) -> Vec<Record> {
    let records: Vec<_> = paths.iter().map(|path| upload(path, 1)).collect();
    let verdicts = store.persist(&records, at(0)).await.unwrap();
    assert!(verdicts.iter().all(|verdict| matches!(verdict, Verdict::Stored { .. })), "{verdicts:?}");
    records
}

fn paths(objects: &[Object]) -> Vec<&str> {
    objects.iter().map(|object| object.path.as_str()).collect()
}
