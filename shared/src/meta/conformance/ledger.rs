//! The promises of [`Ledger`](crate::meta::Ledger).

#![expect(missing_docs, reason = "each name says what is promised")]

use std::{slice::from_ref, sync::Arc};

use tokio::task::JoinSet;

use super::{Tested, at, envelope, failed, id, other_scope, scope, seal, store_all, upload};
use crate::{
    meta::{Deleted, Error, Found, Record, Usage, Verdict},
    model::{EventId, EventType, Object, State, UploadId},
};

pub async fn an_upload_becomes_an_object(store: Tested) {
    let record = upload("a/b.jpg", 9);
    assert_eq!(store.persist(from_ref(&record), at(60)).await.unwrap(), [Verdict::Stored { version: 1 }]);
    let object = Object {
        id: record.id,
        scope: scope(),
        path: "a/b.jpg".parse().unwrap(),
        version: 1,
        size: 9,
        content_type: "image/jpeg".to_owned(),
        sniffed_type: Some("image/png".to_owned()),
        digests: seal(9).digests,
        received_at: record.id.time(),
        stored_at: at(60),
    };
    assert_eq!(store.find(&scope(), record.id).await.unwrap(), Some(Found::Stored(object.clone())));
    assert_eq!(store.at_path(&scope(), &object.path).await.unwrap(), Some(object));
    assert_eq!(store.usage(&scope()).await.unwrap(), Usage { objects: 1, bytes: 9 });
    assert_eq!(store.states(&[record.id]).await.unwrap(), [Some(State::Stored)]);
    assert_eq!(events(&store, record.id).await, [EventType::Stored]);
}

pub async fn verdicts_come_in_the_order_of_the_batch(store: Tested) {
    let [old] = store_all(&store, &["old"]).await.try_into().unwrap();
    let batch = [failed("x", "object_damaged"), upload("old", 1), old, upload("new", 1)];
    assert_eq!(
        store.persist(&batch, at(1)).await.unwrap(),
        [
            Verdict::Failed { reason: "object_damaged" },
            Verdict::Stored { version: 2 },
            Verdict::Known(State::Stored),
            Verdict::Stored { version: 1 }
        ]
    );
}

pub async fn how_far_was_swept_is_remembered(store: Tested) {
    assert_eq!(store.swept().await.unwrap(), None);
    store.set_swept(at(7)).await.unwrap();
    store.set_swept(at(9)).await.unwrap();
    assert_eq!(store.swept().await.unwrap(), Some(at(9)));
}

pub async fn which_queue_was_seen_is_remembered(store: Tested) {
    assert_eq!(store.queue_seen().await.unwrap(), None);
    store.set_queue_seen("one").await.unwrap();
    store.set_queue_seen("another").await.unwrap();
    assert_eq!(store.queue_seen().await.unwrap().as_deref(), Some("another"));
    assert_eq!(store.swept().await.unwrap(), None);
}

pub async fn a_batch_may_be_repeated(store: Tested) {
    let batch = [upload("a", 3), failed("b", "object_missing")];
    store.persist(&batch, at(0)).await.unwrap();
    assert_eq!(
        store.persist(&batch, at(9)).await.unwrap(),
        [Verdict::Known(State::Stored), Verdict::Known(State::Failed)]
    );
    assert_eq!(store.usage(&scope()).await.unwrap(), Usage { objects: 1, bytes: 3 });
    assert_eq!(events(&store, batch[0].id).await, [EventType::Stored]);
    assert_eq!(events(&store, batch[1].id).await, [EventType::Failed]);
}

pub async fn a_known_upload_stays_whatever_the_record_says(store: Tested) {
    let [record] = store_all(&store, &["a"]).await.try_into().unwrap();
    let mut elsewhere = envelope("b");
    elsewhere.scope = other_scope();
    let again =
        Record { id: record.id, envelope: elsewhere, seal: seal(99), failure: Some("object_missing") };
    assert_eq!(store.persist(&[again], at(1)).await.unwrap(), [Verdict::Known(State::Stored)]);
    assert_eq!(store.usage(&scope()).await.unwrap(), Usage { objects: 1, bytes: 1 });
    assert_eq!(store.usage(&other_scope()).await.unwrap(), Usage::default());
    assert_eq!(events(&store, record.id).await, [EventType::Stored]);
}

pub async fn an_upload_that_is_in_a_batch_twice_counts_once(store: Tested) {
    let record = upload("a", 4);
    assert_eq!(
        store.persist(&[record.clone(), record], at(0)).await.unwrap(),
        [Verdict::Stored { version: 1 }, Verdict::Known(State::Stored)]
    );
    assert_eq!(store.usage(&scope()).await.unwrap(), Usage { objects: 1, bytes: 4 });
}

pub async fn records_of_one_path_get_versions_in_their_order(store: Tested) {
    let batch = [upload("a", 1), upload("b", 1), upload("a", 2), upload("a", 3)];
    let verdicts = store.persist(&batch, at(0)).await.unwrap();
    assert_eq!(verdicts, [1, 1, 2, 3].map(|version| Verdict::Stored { version }));
    assert_eq!(store.at_path(&scope(), &batch[0].envelope.path).await.unwrap().unwrap().size, 3);
}

pub async fn a_failed_upload_leaves_its_reason_and_nothing_else(store: Tested) {
    let record = failed("a", "object_damaged");
    let verdicts = store.persist(from_ref(&record), at(0)).await.unwrap();
    assert_eq!(verdicts, [Verdict::Failed { reason: "object_damaged" }]);
    assert_eq!(
        store.find(&scope(), record.id).await.unwrap(),
        Some(Found::Failed { reason: "object_damaged".to_owned() })
    );
    assert_eq!(store.at_path(&scope(), &record.envelope.path).await.unwrap(), None);
    assert_eq!(store.usage(&scope()).await.unwrap(), Usage::default());
    assert_eq!(events(&store, record.id).await, [EventType::Failed]);
}

pub async fn a_path_that_had_to_be_free_fails_the_upload_when_it_is_taken(store: Tested) {
    let only_if_absent = |mut record: Record| {
        record.envelope.only_if_absent = true;
        record
    };
    let (first, second) = (only_if_absent(upload("a", 1)), only_if_absent(upload("a", 2)));
    let verdicts = store.persist(&[first.clone(), second.clone()], at(0)).await.unwrap();
    assert_eq!(verdicts, [Verdict::Stored { version: 1 }, Verdict::Failed { reason: "exists" }]);
    assert_eq!(
        store.find(&scope(), second.id).await.unwrap(),
        Some(Found::Failed { reason: "exists".to_owned() })
    );
    assert_eq!(events(&store, second.id).await, [EventType::Failed]);
    assert_eq!(store.usage(&scope()).await.unwrap(), Usage { objects: 1, bytes: 1 });

    store.delete(&scope(), first.id, None, at(1)).await.unwrap();
    let third = only_if_absent(upload("a", 3));
    assert_eq!(store.persist(&[third], at(2)).await.unwrap(), [Verdict::Stored { version: 2 }]);
}

pub async fn one_bad_record_rejects_the_whole_batch(store: Tested) {
    let (good, too_large) = (upload("a", 1), upload("b", u64::MAX));
    let outcome = store.persist(&[good.clone(), too_large], at(0)).await;
    assert!(matches!(outcome, Err(Error::Rejected(_))), "{outcome:?}");
    assert_eq!(store.states(&[good.id]).await.unwrap(), [None]);
    assert_eq!(store.usage(&scope()).await.unwrap(), Usage::default());
    assert_eq!(store.persist(&[good], at(0)).await.unwrap(), [Verdict::Stored { version: 1 }]);
}

pub async fn an_empty_batch_is_no_error(store: Tested) {
    assert_eq!(store.persist(&[], at(0)).await.unwrap(), []);
    assert_eq!(store.states(&[]).await.unwrap(), []);
    store.purged(&[]).await.unwrap();
    store.settle(&[]).await.unwrap();
}

pub async fn overlapping_batches_at_once_count_each_upload_once(store: Tested) {
    let records: Vec<_> = (0..90).map(|n| upload(&format!("path/{}", n % 7), n)).collect();
    let records = Arc::new(records);
    let mut tasks = JoinSet::new();
    for task in 0..6 {
        let (store, records) = (Arc::clone(&store), Arc::clone(&records));
        tasks.spawn(async move {
            let mut stored = 0;
            // Each task takes windows of 30 in another order, so that every record is in many batches.
            for step in 0..9 {
                let from = (task * 10 + step * 20) % 61;
                let verdicts = store.persist(&records[from..from + 30], at(0)).await.unwrap();
                stored += verdicts.iter().filter(|it| matches!(it, Verdict::Stored { .. })).count();
            }
            stored
        });
    }
    let stored: usize = tasks.join_all().await.into_iter().sum();
    let ids: Vec<_> = records.iter().map(|record| record.id).collect();
    let known = store.states(&ids).await.unwrap().iter().flatten().count();
    assert_eq!((stored, known), (90, 90));
    assert_eq!(store.usage(&scope()).await.unwrap(), Usage { objects: 90, bytes: (0..90).sum() });
    for id in ids {
        assert_eq!(events(&store, id).await, [EventType::Stored]);
    }
    assert_eq!(store.contradictions().await.unwrap(), [""; 0]);
}

pub async fn a_deletion_takes_the_object_and_its_usage_and_is_told(store: Tested) {
    let [record, other] = store_all(&store, &["a", "b"]).await.try_into().unwrap();
    assert_eq!(store.delete(&scope(), record.id, None, at(1)).await.unwrap(), Deleted::Now);
    assert_eq!(store.find(&scope(), record.id).await.unwrap(), Some(Found::Deleted));
    assert_eq!(store.at_path(&scope(), &record.envelope.path).await.unwrap(), None);
    assert!(store.at_path(&scope(), &other.envelope.path).await.unwrap().is_some());
    assert_eq!(store.usage(&scope()).await.unwrap(), Usage { objects: 1, bytes: 1 });
    assert_eq!(store.states(&[record.id]).await.unwrap(), [Some(State::Deleted)]);
    assert_eq!(events(&store, record.id).await, [EventType::Stored, EventType::Deleted]);
}

pub async fn deleting_again_changes_nothing(store: Tested) {
    let [record, _other] = store_all(&store, &["a", "b"]).await.try_into().unwrap();
    store.delete(&scope(), record.id, None, at(1)).await.unwrap();
    assert_eq!(store.delete(&scope(), record.id, None, at(2)).await.unwrap(), Deleted::Before);
    assert_eq!(store.usage(&scope()).await.unwrap(), Usage { objects: 1, bytes: 1 });
    assert_eq!(events(&store, record.id).await, [EventType::Stored, EventType::Deleted]);
    assert_eq!(store.persist(&[record], at(3)).await.unwrap(), [Verdict::Known(State::Deleted)]);
}

pub async fn a_failed_upload_was_gone_before(store: Tested) {
    let record = failed("a", "object_missing");
    store.persist(from_ref(&record), at(0)).await.unwrap();
    assert_eq!(store.delete(&scope(), record.id, None, at(1)).await.unwrap(), Deleted::Before);
    assert_eq!(store.states(&[record.id]).await.unwrap(), [Some(State::Failed)]);
    assert_eq!(events(&store, record.id).await, [EventType::Failed]);
}

pub async fn another_scope_cannot_delete(store: Tested) {
    let [record] = store_all(&store, &["a"]).await.try_into().unwrap();
    for envelope in [None, Some(&record.envelope)] {
        let outcome = store.delete(&other_scope(), record.id, envelope, at(1)).await.unwrap();
        assert_eq!(outcome, Deleted::Unknown);
    }
    let queued = upload("b", 1);
    let outcome = store.delete(&other_scope(), queued.id, Some(&queued.envelope), at(1)).await.unwrap();
    assert_eq!(outcome, Deleted::Unknown);
    assert_eq!(store.states(&[record.id, queued.id]).await.unwrap(), [Some(State::Stored), None]);
}

pub async fn a_deletion_may_come_before_its_job(store: Tested) {
    let record = upload("a", 1);
    let delete = |envelope| store.delete(&record.envelope.scope, record.id, envelope, at(1));
    assert_eq!(delete(None).await.unwrap(), Deleted::Unknown);
    assert_eq!(delete(Some(&record.envelope)).await.unwrap(), Deleted::Now);
    assert_eq!(delete(Some(&record.envelope)).await.unwrap(), Deleted::Before);
    assert_eq!(store.persist(from_ref(&record), at(2)).await.unwrap(), [Verdict::Known(State::Deleted)]);
    assert_eq!(store.find(&scope(), record.id).await.unwrap(), Some(Found::Deleted));
    assert_eq!(store.usage(&scope()).await.unwrap(), Usage::default());
    assert_eq!(events(&store, record.id).await, [EventType::Deleted]);
    assert_eq!(store.unpurged(9).await.unwrap(), [(scope(), record.id)]);
}

pub async fn a_deleted_version_uncovers_the_one_before_and_its_number_is_not_given_again(store: Tested) {
    let [first, second] = store_all(&store, &["a", "a"]).await.try_into().unwrap();
    store.delete(&scope(), second.id, None, at(1)).await.unwrap();
    let uncovered = store.at_path(&scope(), &first.envelope.path).await.unwrap().unwrap();
    assert_eq!((uncovered.id, uncovered.version), (first.id, 1));
    assert_eq!(store.list(&scope(), "", None, 9).await.unwrap(), [uncovered]);
    let third = upload("a", 1);
    assert_eq!(store.persist(&[third], at(2)).await.unwrap(), [Verdict::Stored { version: 3 }]);
}

pub async fn the_bytes_of_ended_uploads_are_asked_for_until_they_are_gone(store: Tested) {
    let [kept, deleted] = store_all(&store, &["a", "b"]).await.try_into().unwrap();
    let mut failed = upload("a", 1);
    failed.envelope.only_if_absent = true;
    // Nobody knows for sure what is left of the other one.
    let damaged = self::failed("c", "object_damaged");
    store.persist(&[failed.clone(), damaged], at(1)).await.unwrap();
    store.delete(&scope(), deleted.id, None, at(2)).await.unwrap();
    let ended = [(scope(), failed.id), (scope(), deleted.id)];
    assert_eq!(store.unpurged(9).await.unwrap(), ended);
    assert_eq!(store.unpurged(1).await.unwrap(), ended[..1]);
    store.purged(&[failed.id, kept.id]).await.unwrap();
    assert_eq!(store.unpurged(9).await.unwrap(), ended[1..]);
    // What is stored has its bytes, whoever says otherwise; once it is deleted they are asked for.
    store.delete(&scope(), kept.id, None, at(3)).await.unwrap();
    assert_eq!(store.unpurged(9).await.unwrap(), [(scope(), deleted.id), (scope(), kept.id)]);
}

pub async fn states_come_in_the_order_asked(store: Tested) {
    let [one, two] = store_all(&store, &["a", "b"]).await.try_into().unwrap();
    let unknown = id();
    store.delete(&scope(), two.id, None, at(1)).await.unwrap();
    assert_eq!(
        store.states(&[two.id, unknown, one.id, two.id]).await.unwrap(),
        [Some(State::Deleted), None, Some(State::Stored), Some(State::Deleted)]
    );
}

pub async fn only_what_is_over_and_old_is_forgotten(store: Tested) {
    let [kept, purged, unpurged, young] = store_all(&store, &["a", "b", "c", "d"]).await.try_into().unwrap();
    store.delete(&scope(), purged.id, None, at(1)).await.unwrap();
    store.delete(&scope(), unpurged.id, None, at(1)).await.unwrap();
    store.delete(&scope(), young.id, None, at(100)).await.unwrap();
    store.purged(&[purged.id, young.id]).await.unwrap();
    // Nothing is relayed yet, so no event may go.
    assert_eq!(store.prune(at(50)).await.unwrap(), 1);
    let ids = [kept.id, purged.id, unpurged.id, young.id];
    let left = [Some(State::Stored), None, Some(State::Deleted), Some(State::Deleted)];
    assert_eq!(store.states(&ids).await.unwrap(), left);
    assert_eq!(events(&store, kept.id).await, [EventType::Stored]);
    store.relay(&[], 100, at(60)).await.unwrap();
    // Six events are old; that of the young deletion is not.
    assert_eq!(store.prune(at(50)).await.unwrap(), 6);
    assert_eq!(events(&store, young.id).await, [EventType::Deleted]);
    assert_eq!(store.states(&ids).await.unwrap(), left);
    assert_eq!(store.usage(&scope()).await.unwrap(), Usage { objects: 1, bytes: 1 });
    assert_eq!(store.contradictions().await.unwrap(), [""; 0]);
}

/// What was told of an upload, in order; and each under its own id.
async fn events(store: &Tested, id: UploadId) -> Vec<EventType> {
    let events = store.events_of(id).await.unwrap();
    for (event, kind) in &events {
        assert_eq!(*event, EventId::of(id, *kind));
    }
    events.into_iter().map(|(_, kind)| kind).collect()
}
