//! Each kind of contradiction, made with SQL behind the store's back, is told.

use super::{file::record, open};
use crate::{
    meta::{Audit as _, Ledger as _, Outbox as _, Receiver, Record},
    model::{Scope, Timestamp},
};

const AT: Timestamp = Timestamp::from_unix_ms(1_795_237_920_000);

/// Two versions of `a`, a version of `b` that was deleted, an upload that failed, and four deliveries and more that wait; then
/// `damage`. Answers with what the audit says of it.
async fn told_after(damage: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let meta = open(&folder);
    let failed = Record { failure: Some("object_damaged"), ..record(4, "c") };
    let batch = [record(1, "a"), record(2, "a"), record(3, "b"), failed];
    meta.persist(&batch, AT).await.unwrap();
    meta.delete(&Scope::default(), batch[2].id, None, AT).await.unwrap();
    let receiver = Receiver { url: "https://all.example/".to_owned(), events: Vec::new() };
    meta.relay(&[receiver], 100, AT).await.unwrap();
    assert_eq!(meta.contradictions().await.unwrap(), [""; 0]);
    let behind_its_back = rusqlite::Connection::open(folder.path().join("headworks.db")).unwrap();
    behind_its_back.execute_batch(damage).unwrap();
    meta.contradictions().await.unwrap()
}

/// One line says all of this.
async fn tells(damage: &str, words: &[&str]) {
    let lines = told_after(damage).await;
    let fits = |line: &&String| words.iter().all(|word| line.contains(word));
    assert!(lines.iter().any(|line| fits(&line)), "{words:?} is not in {lines:#?}");
}

#[tokio::test]
async fn usage_that_does_not_add_up() {
    let words = ["usage of default/default", "says 3 objects, 20 bytes", "there are 2 objects, 20 bytes"];
    tells("UPDATE scopes SET objects = 3", &words).await;
    tells("UPDATE scopes SET bytes = 19", &["says 2 objects, 19 bytes"]).await;
    tells("DELETE FROM scopes", &["no scope has the number 1"]).await;
}

#[tokio::test]
async fn an_object_without_its_ledger_row() {
    tells("DELETE FROM ledger WHERE state = 'stored'", &["object 01", "not in the ledger"]).await;
    tells("UPDATE ledger SET state = 'failed'", &["object 01", "the ledger says failed"]).await;
    tells("UPDATE objects SET size = 11", &["10 bytes", "11 bytes"]).await;
}

#[tokio::test]
async fn a_stored_row_without_its_object() {
    tells("DELETE FROM objects WHERE version = 2", &["stored, but there is no object"]).await;
}

#[tokio::test]
async fn an_event_that_is_missing() {
    let forget = "DELETE FROM events WHERE type = 'object.";
    for kind in ["stored", "failed", "deleted"] {
        let words = [kind, "but there is no event object."];
        tells(&format!("{forget}{kind}'"), &words).await;
    }
}

#[tokio::test]
async fn an_event_that_is_there_twice() {
    let damage = "INSERT INTO events SELECT 100, upload, type, id, time, payload FROM events WHERE seq = 1";
    tells(damage, &["2 events object.stored"]).await;
}

#[tokio::test]
async fn an_event_under_another_id() {
    tells("UPDATE events SET id = randomblob(16) WHERE seq = 4", &["event object.failed", "instead of"])
        .await;
}

#[tokio::test]
async fn an_event_of_what_did_not_happen() {
    let told =
        "INSERT INTO events SELECT 100, upload, 'object.failed', id, time, payload FROM events WHERE seq = 1";
    tells(told, &["event object.failed", "the ledger says stored"]).await;
    let nobodys =
        "INSERT INTO events SELECT 100, zeroblob(16), type, id, time, payload FROM events WHERE seq = 1";
    tells(nobodys, &["event object.stored", "not in the ledger"]).await;
    tells(nobodys, &["event number 100", "cannot be read"]).await;
}

#[tokio::test]
async fn versions_with_a_gap() {
    tells("UPDATE objects SET version = 5 WHERE version = 2", &["\"a\"", "5 follows 1"]).await;
    tells("DELETE FROM objects WHERE version = 1", &["\"a\"", "2 follows 0"]).await;
}

#[tokio::test]
async fn a_version_that_is_there_twice() {
    let damage = "INSERT INTO tombstones SELECT scope, path, version, id, stored_at, stored_at FROM objects WHERE version = 2";
    tells(damage, &["\"a\"", "2 is there twice"]).await;
    tells(damage, &["tombstone", "the ledger says stored"]).await;
}

#[tokio::test]
async fn deliveries_that_were_not_counted_or_have_nothing_to_tell() {
    let uncounted = "DELETE FROM deliveries WHERE seq = 1";
    tells(uncounted, &["https://all.example/", "says 5 deliveries wait; there are 4"]).await;
    tells("DELETE FROM events WHERE seq = 1", &["delivery of event", "the event is gone"]).await;
}

#[tokio::test]
async fn an_answer_is_bounded() {
    let damage = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12000)
        INSERT INTO ledger SELECT randomblob(16), 1, 'stored', 0, 1, 9000000000000, NULL FROM n";
    let lines = told_after(damage).await;
    assert_eq!(lines.len(), 10_001);
    assert_eq!(lines.last().unwrap(), "there are more than these 10000 contradictions");
}
