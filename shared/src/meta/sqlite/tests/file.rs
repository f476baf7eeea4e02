//! The file: what is in it stays, who may open it, and what happens when it is closed.

use std::time::Duration;

use super::{
    super::{Options, SqliteMeta},
    OPTIONS, open,
};
use crate::{
    meta::{Audit as _, Catalog as _, Error, Ledger as _, Record, Usage, Verdict},
    model::{Crc64, Digests, Envelope, Priority, Scope, Seal, State, Timestamp, UploadId},
    report::Report,
};

const AT: Timestamp = Timestamp::from_unix_ms(1_795_237_920_000);

pub(super) fn record(number: u8, path: &str) -> Record {
    let envelope = Envelope {
        scope: Scope::default(),
        path: path.parse().unwrap(),
        content_type: None,
        priority: Priority::Normal,
        only_if_absent: false,
        marker: None,
        request_id: None,
        trace: None,
    };
    let digests = Digests { crc64nvme: Crc64(u64::MAX), sha256: None };
    let seal = Seal { size: 10, digests, sniffed_type: None };
    Record { id: UploadId::new(AT, [number; 10]), envelope, seal, failure: None }
}

#[tokio::test]
async fn what_was_answered_is_there_when_it_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let record = record(1, "a");
    let meta = open(&folder);
    meta.persist(&[record.clone()], AT).await.unwrap();
    drop(meta);
    assert!(!folder.path().join("headworks.db-wal").exists(), "the file is closed");
    let meta = open(&folder);
    assert_eq!(meta.persist(&[record], AT).await.unwrap(), [Verdict::Known(State::Stored)]);
    assert_eq!(meta.usage(&Scope::default()).await.unwrap(), Usage { objects: 1, bytes: 10 });
}

#[tokio::test]
async fn it_can_be_read_beside_its_writer_and_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let meta = open(&folder);
    let beside = SqliteMeta::open_to_read(&folder.path().join("headworks.db"), OPTIONS).unwrap();
    meta.persist(&[record(1, "a")], AT).await.unwrap();
    assert_eq!(beside.ledger_page(None, 9).await.unwrap().len(), 1);
    assert_eq!(beside.contradictions().await.unwrap(), [""; 0]);
    let written = beside.persist(&[record(2, "b")], AT).await.unwrap_err();
    assert_eq!(Report(&written).to_string(), "reach the metadata store: the database is open to read only");
}

#[test]
fn there_is_nothing_to_read_without_a_file() {
    let folder = tempfile::tempdir().unwrap();
    assert!(SqliteMeta::open_to_read(&folder.path().join("none.db"), OPTIONS).is_err());
}

#[tokio::test]
async fn a_writer_that_is_held_up_by_another_process_is_unavailable() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("headworks.db");
    let options = Options { acquire_timeout: Duration::from_millis(50), ..OPTIONS };
    let meta = SqliteMeta::open(&path, options).unwrap();
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let outcome = meta.persist(&[record(1, "a")], AT).await;
    assert!(matches!(outcome, Err(Error::Unavailable(_))), "{outcome:?}");
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(meta.persist(&[record(1, "a")], AT).await.unwrap(), [Verdict::Stored { version: 1 }]);
}

#[tokio::test]
async fn more_is_forgotten_than_one_step_takes() {
    let folder = tempfile::tempdir().unwrap();
    let meta = open(&folder);
    let records: Vec<_> = (0..1203_u16)
        .map(|number| {
            let mut random = [0; 10];
            random[8..].copy_from_slice(&number.to_be_bytes());
            Record { id: UploadId::new(AT, random), failure: Some("object_missing"), ..record(0, "a") }
        })
        .collect();
    meta.persist(&records, AT).await.unwrap();
    let ids: Vec<_> = records.iter().map(|record| record.id).collect();
    meta.purged(&ids).await.unwrap();
    crate::meta::Outbox::relay(&meta, &[], 10_000, AT).await.unwrap();
    assert_eq!(meta.prune(AT.after(Duration::from_secs(1))).await.unwrap(), 2 * 1203);
    assert_eq!(meta.ledger_page(None, 9).await.unwrap(), []);
}
