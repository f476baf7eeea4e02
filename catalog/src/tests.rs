//! The catalog over the real stores: SQLite for metadata, a folder for objects.

mod content;
mod delete;
mod objects;
mod stores;

use std::{
    fs,
    future::poll_fn,
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use headworks_shared::{
    clock::Clock,
    http::{Body, Code},
    limits::Budget,
    meta::{
        Record, Store, Verdict,
        sqlite::{self, SqliteMeta},
    },
    model::{Envelope, Hasher, Priority, Scope, Seal, Timestamp, UploadId},
    outcomes::Outcomes,
    queue::{self, memory::MemoryQueue},
    resilience::RetriesOf,
    shutdown::{Stop, Tasks},
    stack::Stack,
    storage::{
        Blobs, BodyError, Key, Source,
        disk::{DiskBlobs, Options},
    },
    telemetry::metrics::Registry,
};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body::Body as _;
use serde_json::Value;
use tempfile::TempDir;

use crate::Catalog;

/// 2026-11-21T05:12:00.5Z: the fraction must not show in a date.
const START: Timestamp = Timestamp::from_unix_ms(1_795_237_920_500);

/// A catalog, what it stands on, and the folder that all of it is in.
struct World {
    catalog: Catalog,
    stack: Stack,
    folder: TempDir,
}

/// An answer, read to its end.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl World {
    fn new() -> Self {
        Self::over(|blobs| blobs)
    }

    /// With something between the catalog and the folder of objects.
    fn over(between: impl FnOnce(Arc<dyn Blobs>) -> Arc<dyn Blobs>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = Options { fsync: false, small_body: 1024 };
        let blobs = DiskBlobs::open(&folder.path().join("objects"), options, Budget::new(1 << 20)).unwrap();
        let options = sqlite::Options { pool: 2, acquire_timeout: Duration::from_secs(5) };
        let meta: Arc<dyn Store> =
            Arc::new(SqliteMeta::open(&folder.path().join("meta.db"), options).unwrap());
        let stack = Stack {
            node: queue::Holder("test".into()),
            clock: Clock::manual(START),
            blobs: between(Arc::new(blobs)),
            queue: Arc::new(MemoryQueue::new(queue::Settings::with_capacity(10))),
            meta,
            outcomes: Outcomes::default(),
            registry: Registry::default(),
            retries: RetriesOf::default(),
            tasks: Tasks::new(Stop::new()),
        };
        Self { catalog: Catalog::new(&stack.stores()), stack, folder }
    }

    /// An acknowledged upload whose job waits.
    async fn queue(&self, path: &str, media_type: Option<&str>, content: &[u8]) -> Record {
        self.queue_in(&Scope::default(), path, media_type, content).await
    }

    async fn queue_in(&self, scope: &Scope, path: &str, media_type: Option<&str>, content: &[u8]) -> Record {
        let id = self.stack.clock.upload_id();
        let envelope = Envelope {
            scope: scope.clone(),
            path: path.parse().unwrap(),
            content_type: media_type.map(str::to_owned),
            priority: Priority::Normal,
            only_if_absent: false,
            marker: None,
            request_id: None,
            trace: None,
        };
        let mut source = Given::new(content);
        let seal = self.stack.blobs.put(&Key::object(scope, id), &envelope, &mut source).await.unwrap();
        Record { id, envelope, seal, failure: None }
    }

    /// Brings the job to its end, a moment later.
    async fn persist(&self, record: &Record) -> Verdict {
        self.stack.clock.advance(Duration::from_secs(10));
        let batch = std::slice::from_ref(record);
        self.stack.meta.persist(batch, self.stack.clock.now()).await.unwrap().pop().unwrap()
    }

    async fn store(&self, path: &str, media_type: Option<&str>, content: &[u8]) -> UploadId {
        let record = self.queue(path, media_type, content).await;
        self.persist(&record).await;
        record.id
    }

    fn file_of(&self, id: UploadId) -> PathBuf {
        self.folder.path().join("objects").join(Key::object(&Scope::default(), id).as_str())
    }

    /// Puts a file where the folder of an object was: then the store can neither find the object nor know that it is gone.
    fn break_folder_of(&self, id: UploadId) {
        let folder = self.file_of(id).parent().unwrap().to_owned();
        fs::remove_dir_all(&folder).unwrap();
        fs::write(&folder, "in the way").unwrap();
    }

    async fn ask(&self, method: Method, target: &str, fields: &[(&str, &str)]) -> Answer {
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        let (route, answer) = self.catalog.handle(&head, "r-1").await.expect("the catalog's own request");
        assert!(crate::ROUTES.contains(&route), "{route} is not among the names that metrics know");
        let reply = answer.unwrap_or_else(|problem| problem.to_reply("r-1"));
        let (head, body) = reply.into_parts();
        Answer { status: head.status, headers: head.headers, body: read(body).await }
    }

    async fn get(&self, target: &str) -> Answer {
        self.ask(Method::GET, target, &[]).await
    }
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("ASCII"))
    }

    #[track_caller]
    fn assert_problem(&self, code: Code) {
        assert_eq!(self.field("content-type"), Some("application/problem+json"));
        assert_eq!((self.json()["code"].as_str(), self.status), (Some(code.as_str()), code.status()));
    }
}

async fn read(mut body: Body) -> Bytes {
    let announced = body.size_hint().exact().expect("a length");
    let mut content = Vec::new();
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        content.extend_from_slice(&frame.expect("a piece").into_data().expect("data"));
    }
    assert_eq!(content.len() as u64, announced);
    content.into()
}

/// A body that is there already.
struct Given {
    content: Bytes,
    hasher: Hasher,
    size: u64,
}

impl Given {
    fn new(content: &[u8]) -> Self {
        Self { content: Bytes::copy_from_slice(content), hasher: Hasher::new(true, false), size: 0 }
    }
}

impl Source for Given {
    fn announced(&self) -> Option<u64> {
        Some(self.content.len() as u64 + self.size)
    }

    fn poll_chunk(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        if self.content.is_empty() {
            return Poll::Ready(None);
        }
        let chunk = self.content.split_to(self.content.len().min(64 << 10));
        self.hasher.update(&chunk);
        self.size += chunk.len() as u64;
        Poll::Ready(Some(Ok(chunk)))
    }

    fn seal(&self) -> Seal {
        Seal { size: self.size, digests: self.hasher.digests(), sniffed_type: Some("image/gif".to_owned()) }
    }
}
