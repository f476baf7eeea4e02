//! Each kind of contradiction, made with SQL behind the store's back, is told.

use anyhow::{Result, ensure};
use headworks_shared::{
    meta::{Audit as _, Ledger as _, Outbox as _, Receiver, Record},
    model::Scope,
};

use super::{AT, fresh, upload};

/// Two versions of `a`, a version of `b` that was deleted, an upload that failed, and five deliveries that wait, an object that is not
/// relayed; then `damage`. Answers with what the audit says of it.
async fn told_after(damage: &str) -> Result<Vec<String>> {
    let (meta, postgres, database) = fresh().await?;
    let failed = Record { failure: Some("object_damaged"), ..upload("c") };
    let batch = [upload("a"), upload("a"), upload("b"), failed];
    meta.persist(&batch, AT).await?;
    meta.delete(&Scope::default(), batch[2].id, None, AT).await?;
    let receiver = Receiver { url: "https://all.example/".to_owned(), events: Vec::new() };
    meta.relay(&[receiver], 100, AT).await?;
    meta.persist(&[upload("d")], AT).await?;
    let before = meta.contradictions().await?;
    ensure!(before.is_empty(), "{before:?}");
    postgres.say(&database, damage).await?;
    Ok(meta.contradictions().await?)
}

#[tokio::test]
async fn every_kind_of_contradiction_is_told() -> Result<()> {
    let twice = "INSERT INTO events SELECT 100, time, upload, id, type, payload FROM events WHERE seq & 1048575 = 0 LIMIT 1";
    let elsewhere =
        "INSERT INTO events SELECT 100, time, gen_random_uuid(), id, type, payload FROM events LIMIT 1";
    let unhappened = "INSERT INTO events SELECT 100, time, upload, id, 'object.failed', payload FROM events WHERE type = 'object.stored' LIMIT 1";
    let tombstone = "INSERT INTO tombstones SELECT scope, path, version, id, stored_at, stored_at FROM objects WHERE version = 2";
    for (damage, words) in [
        (
            "UPDATE scopes SET objects = 4",
            &["usage of default/default", "says 4 objects, 30 bytes", "there are 3 objects"][..],
        ),
        ("UPDATE scopes SET bytes = 29", &["says 3 objects, 29 bytes"]),
        ("DELETE FROM scopes", &["no scope has the number 1"]),
        ("DELETE FROM ledger WHERE state = 'stored'", &["object 01", "not in the ledger"]),
        ("UPDATE ledger SET state = 'failed'", &["object 01", "the ledger says failed"]),
        ("UPDATE objects SET size = 11", &["10 bytes", "11 bytes"]),
        ("DELETE FROM objects WHERE version = 2", &["stored, but there is no object"]),
        ("DELETE FROM events WHERE type = 'object.failed'", &["failed, but there is no event object.failed"]),
        (
            "DELETE FROM events WHERE type = 'object.deleted'",
            &["deleted, but there is no event object.deleted"],
        ),
        (twice, &["2 events object.stored"]),
        (
            "UPDATE events SET id = gen_random_uuid() WHERE type = 'object.failed'",
            &["event object.failed", "instead of"],
        ),
        (unhappened, &["event object.failed", "the ledger says stored"]),
        (elsewhere, &["event object", "not in the ledger"]),
        (elsewhere, &["event number 100", "cannot be read"]),
        ("UPDATE objects SET version = 5 WHERE version = 2", &["versions of \"a\"", "5 follows 1"]),
        ("DELETE FROM objects WHERE path = 'a' AND version = 1", &["versions of \"a\"", "2 follows 0"]),
        (tombstone, &["versions of \"a\"", "2 is there twice"]),
        (tombstone, &["tombstone", "the ledger says stored"]),
        (
            "DELETE FROM deliveries WHERE seq & 1048575 = 1",
            &["https://all.example/", "says 5 deliveries wait; there are 4"],
        ),
        ("DELETE FROM events WHERE type = 'object.deleted'", &["delivery of event", "the event is gone"]),
        ("UPDATE unrelayed SET events = 2", &["batch 3 of events", "says 2 are not relayed; there are 1"]),
    ] {
        let lines = told_after(damage).await?;
        let told = lines.iter().any(|line| words.iter().all(|word| line.contains(word)));
        ensure!(told, "{damage}: {words:?} is not in {lines:#?}");
    }
    Ok(())
}

#[tokio::test]
async fn an_answer_is_bounded() -> Result<()> {
    let damage = "INSERT INTO ledger (id, scope, at, size, state)
        SELECT gen_random_uuid(), 1, 9000000000000, 1, 'stored' FROM generate_series(1, 12000)";
    let lines = told_after(damage).await?;
    ensure!(lines.len() == 10_001, "{}", lines.len());
    ensure!(lines.last().is_some_and(|last| last == "there are more than these 10000 contradictions"));
    Ok(())
}
