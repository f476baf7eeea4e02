//! Stores that are slow, gone, or have lost something.

use std::ops::Range;

use async_trait::async_trait;
use headworks_shared::storage::{Content, Error, Head, Health, Listed, Prefix, PutError};
use tokio::sync::Notify;

use super::*;

#[tokio::test]
async fn a_store_that_cannot_be_asked_is_no_proof_that_there_is_nothing() {
    let world = World::new();
    let queued = world.queue("a", None, b"1").await.id;
    world.break_folder_of(queued);
    for (method, rest) in [(Method::GET, ""), (Method::GET, "/content"), (Method::DELETE, "")] {
        let answer = world.ask(method, &format!("/v1/objects/{queued}{rest}"), &[]).await;
        answer.assert_problem(Code::Unavailable);
        assert_eq!(answer.field("retry-after"), Some("2"));
        assert_eq!(
            answer.json()["detail"],
            Code::Unavailable.help().trim(),
            "what operators need goes into the log"
        );
    }
}

#[tokio::test]
async fn metadata_that_cannot_be_asked_is_no_proof_that_there_is_nothing() {
    let world = World::new();
    let id = world.store("a", None, b"1").await;
    rusqlite::Connection::open(world.folder.path().join("meta.db"))
        .and_then(|database| database.execute_batch("ALTER TABLE scopes RENAME TO elsewhere"))
        .unwrap();
    for target in ["/v1/objects".to_owned(), format!("/v1/objects/{id}"), "/v1/files/a".to_owned()] {
        world.get(&target).await.assert_problem(Code::Unavailable);
    }
    let answer = world.ask(Method::DELETE, &format!("/v1/objects/{id}"), &[]).await;
    answer.assert_problem(Code::Unavailable);
    assert!(world.file_of(id).exists(), "no tombstone, no removal");
}

#[tokio::test]
async fn lost_and_damaged_bytes_are_told_and_never_sent() {
    let world = World::new();
    let lost = world.store("lost", None, b"12345").await;
    fs::remove_file(world.file_of(lost)).unwrap();
    world.get("/v1/files/lost").await.assert_problem(Code::ObjectMissing);
    world.get(&format!("/v1/objects/{lost}/content")).await.assert_problem(Code::ObjectMissing);
    let cut = world.store("cut", None, b"12345").await;
    fs::write(world.file_of(cut), b"1234").unwrap();
    world.get("/v1/files/cut").await.assert_problem(Code::ObjectDamaged);
}

#[tokio::test]
async fn an_object_without_its_envelope_is_nobodys_receipt() {
    let world = World::new();
    let queued = world.queue("a", None, b"1").await.id;
    fs::remove_file(world.file_of(queued)).unwrap();
    fs::write(world.file_of(queued), b"1").unwrap();
    world.get(&format!("/v1/objects/{queued}")).await.assert_problem(Code::NotFound);
}

#[tokio::test]
async fn an_upload_that_fails_while_it_is_looked_up_is_not_told_as_unknown() {
    let gate = Arc::new(Gate::before(Verb::Stat));
    let world = World::over(|blobs| Arc::new(Gated { blobs, gate: Arc::clone(&gate) }));
    let record = world.queue("a", None, b"x").await;
    let target = format!("/v1/objects/{}", record.id);
    let fail = async {
        gate.reached.notified().await;
        world.persist(&Record { failure: Some(Code::ObjectDamaged.as_str()), ..record.clone() }).await;
        fs::remove_file(world.file_of(record.id)).unwrap();
        gate.open.notify_one();
    };
    let (told, ()) = tokio::join!(world.get(&target), fail);
    assert_eq!(told.json()["status"], "failed");
}

/// What a gate stands before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verb {
    Stat,
    Delete,
}

/// Stands before one of a store's verbs.
#[derive(Debug)]
pub(super) struct Gate {
    before: Verb,
    /// Somebody wants to pass.
    pub(super) reached: Notify,
    /// Somebody may.
    pub(super) open: Notify,
}

impl Gate {
    pub(super) fn before(before: Verb) -> Self {
        Self { before, reached: Notify::new(), open: Notify::new() }
    }

    async fn pass(&self, verb: Verb) {
        if verb == self.before {
            self.reached.notify_one();
            self.open.notified().await;
        }
    }
}

/// A store with a gate.
#[derive(Debug)]
pub(super) struct Gated {
    pub(super) blobs: Arc<dyn Blobs>,
    pub(super) gate: Arc<Gate>,
}

#[async_trait]
impl Blobs for Gated {
    async fn delete(&self, key: &Key) -> Result<(), Error> {
        self.gate.pass(Verb::Delete).await;
        self.blobs.delete(key).await
    }

    async fn put(&self, key: &Key, envelope: &Envelope, body: &mut dyn Source) -> Result<Seal, PutError> {
        self.blobs.put(key, envelope, body).await
    }

    async fn confirm(&self, key: &Key) -> Result<(), Error> {
        self.blobs.confirm(key).await
    }

    async fn create(&self, key: &Key, content: Bytes) -> Result<(), PutError> {
        self.blobs.create(key, content).await
    }

    async fn stat(&self, keys: &[Key]) -> Vec<Result<Head, Error>> {
        self.gate.pass(Verb::Stat).await;
        self.blobs.stat(keys).await
    }

    async fn read(&self, key: &Key, range: Option<Range<u64>>) -> Result<Content, Error> {
        self.blobs.read(key, range).await
    }

    async fn list(&self, prefix: &Prefix, after: Option<&Key>, limit: usize) -> Result<Vec<Listed>, Error> {
        self.blobs.list(prefix, after, limit).await
    }

    async fn sweep_unfinished(&self, idle: Duration) -> Result<u64, Error> {
        self.blobs.sweep_unfinished(idle).await
    }

    async fn health(&self) -> Result<Health, Error> {
        self.blobs.health().await
    }
}
