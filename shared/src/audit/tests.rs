//! Over the real stores: a folder, and a SQLite file. Each test plants one thing that ought not to be.

use std::{
    fs,
    ops::Range,
    path::PathBuf,
    sync::Arc,
    task::{Context, Poll},
};

use async_trait::async_trait;
use bytes::Bytes;
use tempfile::TempDir;

use super::*;
use crate::{
    clock::Clock,
    limits::Budget,
    meta::{
        Catalog as _, Ledger as _, Record,
        sqlite::{self, SqliteMeta},
    },
    model::{Envelope, Priority, Seal},
    storage::{BodyError, Health, PutError, Source, disk::DiskBlobs},
};

const SETTLE: Duration = Duration::from_secs(600);

struct World {
    blobs: DiskBlobs,
    meta: SqliteMeta,
    clock: Clock,
    folder: TempDir,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = crate::storage::disk::Options { fsync: false, small_body: 1024 };
        let blobs = DiskBlobs::open(&folder.path().join("objects"), options, Budget::new(1 << 20)).unwrap();
        let options = sqlite::Options { pool: 1, acquire_timeout: Duration::from_secs(5) };
        let meta = SqliteMeta::open(&folder.path().join("meta.db"), options).unwrap();
        Self { blobs, meta, clock: Clock::system(), folder }
    }

    async fn put(&self, content: &'static str) -> Record {
        let id = self.clock.upload_id();
        let envelope = Envelope {
            scope: Scope::default(),
            path: "a".parse().unwrap(),
            content_type: None,
            priority: Priority::Normal,
            only_if_absent: false,
            marker: None,
            request_id: None,
            trace: None,
        };
        let mut source = Given { content: content.into(), hasher: Hasher::new(false, false), size: 0 };
        let seal = self.blobs.put(&key(id), &envelope, &mut source).await.unwrap();
        Record { id, envelope, seal, failure: None }
    }

    async fn store(&self, content: &'static str) -> UploadId {
        let record = self.put(content).await;
        self.persist(&record).await;
        record.id
    }

    async fn persist(&self, record: &Record) {
        self.meta.persist(std::slice::from_ref(record), self.clock.now()).await.unwrap();
    }

    async fn tombstone(&self, id: UploadId) {
        self.meta.delete(&Scope::default(), id, None, self.clock.now()).await.unwrap();
    }

    fn file_of(&self, id: UploadId) -> PathBuf {
        self.folder.path().join("objects").join(key(id).as_str())
    }

    /// Everything is settled, nothing waits, every byte is read.
    fn options(&self) -> Options {
        let now = self.clock.now().after(SETTLE);
        Options { now, settle: SETTLE, waiting: HashSet::new(), deep: true }
    }

    async fn audit(&self, options: &Options) -> (Audit, Vec<Finding>) {
        run(&self.blobs, &self.meta, options).await
    }

    async fn findings(&self) -> Vec<Finding> {
        self.audit(&self.options()).await.1
    }
}

async fn run(blobs: &dyn Blobs, meta: &dyn meta::Store, options: &Options) -> (Audit, Vec<Finding>) {
    let mut findings = Vec::new();
    let audit = audit(blobs, meta, options, &mut |finding| findings.push(finding.clone())).await.unwrap();
    assert_eq!(audit.findings, findings.len() as u64);
    assert!(findings.iter().all(|finding| !finding.to_string().contains('\n')), "one line each");
    (audit, findings)
}

fn key(id: UploadId) -> Key {
    Key::object(&Scope::default(), id)
}

#[tokio::test]
async fn a_sound_store_has_no_findings() {
    let world = World::new();
    world.store("12345").await;
    world.store("123").await;
    let failed = world.put("x").await;
    world.blobs.delete(&key(failed.id)).await.unwrap();
    world.persist(&Record { failure: Some("object_missing"), ..failed }).await;
    let deleted = world.store("gone").await;
    world.tombstone(deleted).await;
    world.blobs.delete(&key(deleted)).await.unwrap();
    world.meta.purged(&[deleted]).await.unwrap();
    let half_deleted = world.store("the sweep will remove it").await;
    world.tombstone(half_deleted).await;
    let expected = Audit { objects: 3, rows: 5, bytes_read: 8, findings: 0 };
    assert_eq!(world.audit(&world.options()).await, (expected, vec![]));
    let shallow = Options { deep: false, ..world.options() };
    assert_eq!(world.audit(&shallow).await.0.bytes_read, 0);
}

/// Nobody removes them: a person must look whether they are sound after all.
#[tokio::test]
async fn the_bytes_of_a_failed_upload_are_found() {
    let world = World::new();
    let failed = world.put("x").await;
    let id = failed.id;
    world.persist(&Record { failure: Some("object_missing"), ..failed }).await;
    assert_eq!(world.findings().await, [Finding::Leaked { key: key(id), state: State::Failed }]);
}

#[tokio::test]
async fn an_object_without_a_row_is_found_unless_it_is_on_its_way() {
    let world = World::new();
    let id = world.put("x").await.id;
    let [Finding::Unrecorded { key: found, .. }] = &world.findings().await[..] else { panic!("not found") };
    assert_eq!(found, &key(id));
    let young = Options { now: world.clock.now(), ..world.options() };
    assert_eq!(world.audit(&young).await.1, []);
    let queued = Options { waiting: HashSet::from([id]), ..world.options() };
    assert_eq!(world.audit(&queued).await.1, []);
}

#[tokio::test]
async fn an_object_that_is_gone_is_found() {
    let world = World::new();
    let id = world.store("x").await;
    fs::remove_file(world.file_of(id)).unwrap();
    assert_eq!(world.findings().await, [Finding::Missing { key: key(id) }]);
}

#[tokio::test]
async fn an_object_that_was_cut_is_found() {
    let world = World::new();
    let id = world.store("12345").await;
    fs::write(world.file_of(id), "1234").unwrap();
    assert_eq!(world.findings().await, [Finding::Size { key: key(id), recorded: 5, stored: 4 }]);
}

#[tokio::test]
async fn a_flipped_bit_is_found_by_a_deep_audit() {
    let world = World::new();
    let id = world.store("12345").await;
    fs::write(world.file_of(id), "12344").unwrap();
    let [Finding::Damaged { key: found, recorded, stored }] = &world.findings().await[..] else {
        panic!("not found")
    };
    assert!(found == &key(id) && recorded != stored);
    let shallow = Options { deep: false, ..world.options() };
    assert_eq!(world.audit(&shallow).await.1, []);
}

#[tokio::test]
async fn bytes_that_were_told_gone_are_found() {
    let world = World::new();
    let id = world.store("x").await;
    world.tombstone(id).await;
    world.meta.purged(&[id]).await.unwrap();
    assert_eq!(world.findings().await, [Finding::Leaked { key: key(id), state: State::Deleted }]);
}

#[tokio::test]
async fn an_object_that_cannot_be_read_is_found_and_the_rest_is_looked_at() {
    let world = World::new();
    let broken = world.store("x").await;
    fs::write(world.file_of(broken), "x").unwrap();
    rustix::fs::setxattr(
        world.file_of(broken),
        "user.headworks",
        b"not an envelope",
        rustix::fs::XattrFlags::empty(),
    )
    .unwrap();
    let lost = world.store("y").await;
    fs::remove_file(world.file_of(lost)).unwrap();
    let findings = world.findings().await;
    let [Finding::Unreadable { key: unreadable, error }, Finding::Missing { key: missing }] = &findings[..]
    else {
        panic!("{findings:?}")
    };
    assert_eq!((unreadable, missing), (&key(broken), &key(lost)));
    assert!(error.starts_with("read the envelope of o/"), "{error}");
}

#[tokio::test]
async fn usage_that_does_not_add_up_is_found() {
    let world = World::new();
    world.store("x").await;
    rusqlite::Connection::open(world.folder.path().join("meta.db"))
        .and_then(|database| database.execute_batch("UPDATE scopes SET bytes = bytes + 1"))
        .unwrap();
    assert!(matches!(&world.findings().await[..], [Finding::Contradiction(_)]));
}

#[tokio::test]
async fn more_than_a_page_is_looked_at_to_its_end() {
    let world = World::new();
    let mut records = Vec::new();
    for _ in 0..PAGE + 3 {
        records.push(world.put("x").await);
    }
    let (last, others) = records.split_last().unwrap();
    world.meta.persist(others, world.clock.now()).await.unwrap();
    let (audit, findings) = world.audit(&world.options()).await;
    assert_eq!((audit.objects, audit.rows, audit.bytes_read), (503, 502, 502));
    assert!(matches!(&findings[..], [Finding::Unrecorded { key: found, .. }] if *found == key(last.id)));
}

#[tokio::test]
async fn what_is_deleted_while_the_audit_looks_at_it_is_no_finding() {
    let world = World::new();
    let id = world.store("x").await;
    let World { blobs, meta, clock, folder: _folder } = world;
    let meta = Arc::new(meta);
    let options =
        Options { now: clock.now().after(SETTLE), settle: SETTLE, waiting: HashSet::new(), deep: true };
    let racing = Racing { blobs, meta: Arc::clone(&meta), id, at: clock.now() };
    let (audit, findings) = run(&racing, meta.as_ref(), &options).await;
    assert_eq!((audit.rows, findings), (1, vec![]));
    assert_eq!(meta.find(&Scope::default(), id).await.unwrap(), Some(Found::Deleted));
}

/// A store in which somebody deletes an object just before it is looked at.
#[derive(Debug)]
struct Racing {
    blobs: DiskBlobs,
    meta: Arc<SqliteMeta>,
    id: UploadId,
    at: Timestamp,
}

#[async_trait]
impl Blobs for Racing {
    async fn stat(&self, keys: &[Key]) -> Vec<Result<Head, storage::Error>> {
        self.meta.delete(&Scope::default(), self.id, None, self.at).await.unwrap();
        self.blobs.delete(&key(self.id)).await.unwrap();
        self.meta.purged(&[self.id]).await.unwrap();
        self.blobs.stat(keys).await
    }

    async fn put(&self, key: &Key, envelope: &Envelope, body: &mut dyn Source) -> Result<Seal, PutError> {
        self.blobs.put(key, envelope, body).await
    }

    async fn confirm(&self, key: &Key) -> Result<(), storage::Error> {
        self.blobs.confirm(key).await
    }

    async fn create(&self, key: &Key, content: Bytes) -> Result<(), PutError> {
        self.blobs.create(key, content).await
    }

    async fn read(&self, key: &Key, range: Option<Range<u64>>) -> Result<Content, storage::Error> {
        self.blobs.read(key, range).await
    }

    async fn delete(&self, key: &Key) -> Result<(), storage::Error> {
        self.blobs.delete(key).await
    }

    async fn list(
        &self,
        prefix: &Prefix,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Listed>, storage::Error> {
        self.blobs.list(prefix, after, limit).await
    }

    async fn sweep_unfinished(&self, idle: Duration) -> Result<u64, storage::Error> {
        self.blobs.sweep_unfinished(idle).await
    }

    async fn health(&self) -> Result<Health, storage::Error> {
        self.blobs.health().await
    }
}

/// A body that is there already.
struct Given {
    content: Bytes,
    hasher: Hasher,
    size: u64,
}

impl Source for Given {
    fn announced(&self) -> Option<u64> {
        None
    }

    fn poll_chunk(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        let chunk = std::mem::take(&mut self.content);
        self.hasher.update(&chunk);
        self.size += chunk.len() as u64;
        Poll::Ready((!chunk.is_empty()).then_some(Ok(chunk)))
    }

    fn seal(&self) -> Seal {
        Seal { size: self.size, digests: self.hasher.digests(), sniffed_type: None }
    }
}
