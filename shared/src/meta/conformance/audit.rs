//! The promises of [`Audit`](crate::meta::Audit). That contradictions are found is each backend's to show: it takes its own SQL to
//! make one.

#![expect(missing_docs, reason = "each name says what is promised")]

use std::slice::from_ref;

use super::{Tested, at, failed, scope, store_all, upload};
use crate::{
    meta::{LedgerRow, Receiver},
    model::{EventId, EventType, State},
};

pub async fn the_ledger_comes_in_the_order_of_ids(store: Tested) {
    let [one, two] = store_all(&store, &["a", "b"]).await.try_into().unwrap();
    let three = failed("c", "object_damaged");
    store.persist(from_ref(&three), at(1)).await.unwrap();
    store.delete(&scope(), two.id, None, at(2)).await.unwrap();
    store.purged(&[two.id]).await.unwrap();
    let row = |id, state, purged, size| LedgerRow { id, scope: scope(), state, purged, size };
    let rows = [
        row(one.id, State::Stored, false, 1),
        row(two.id, State::Deleted, true, 0),
        row(three.id, State::Failed, true, 0),
    ];
    assert_eq!(store.ledger_page(None, 9).await.unwrap(), rows);
    assert_eq!(store.ledger_page(None, 1).await.unwrap(), rows[..1]);
    assert_eq!(store.ledger_page(Some(one.id), 9).await.unwrap(), rows[1..]);
    assert_eq!(store.ledger_page(Some(three.id), 9).await.unwrap(), []);
}

pub async fn a_store_in_use_does_not_contradict_itself(store: Tested) {
    let receiver = Receiver { url: "https://all.example/".to_owned(), events: Vec::new() };
    for round in 0..4 {
        let records = store_all(&store, &["a", "a", "b", "c", "a"]).await;
        store.persist(&[failed("d", "object_missing")], at(round)).await.unwrap();
        let queued = upload("e", 3);
        store.delete(&scope(), queued.id, Some(&queued.envelope), at(round)).await.unwrap();
        for index in [0, 2, 4] {
            store.delete(&scope(), records[index].id, None, at(round * 10)).await.unwrap();
        }
        let ended: Vec<_> = store.unpurged(3).await.unwrap().into_iter().map(|(_, id)| id).collect();
        store.purged(&ended).await.unwrap();
        store.relay(from_ref(&receiver), 7, at(round)).await.unwrap();
        store.due(&receiver.url, 3, at(round), std::time::Duration::ZERO).await.unwrap();
        store.prune(at(round * 7)).await.unwrap();
        assert_eq!(store.contradictions().await.unwrap(), [""; 0], "round {round}");
    }
}

pub async fn each_end_is_one_event(store: Tested) {
    let [record] = store_all(&store, &["a"]).await.try_into().unwrap();
    store.delete(&scope(), record.id, None, at(1)).await.unwrap();
    let event = |kind| (EventId::of(record.id, kind), kind);
    let events = store.events_of(record.id).await.unwrap();
    assert_eq!(events, [event(EventType::Stored), event(EventType::Deleted)]);
}
