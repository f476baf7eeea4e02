//! What the tests of this crate stand on: objects on a real disk, and a queue and metadata in memory that fail when they are told to.

mod blobs;
mod meta;
mod queue;
mod receiver;

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use headworks_shared::{
    clock::Clock,
    config::{self, Settings, Span},
    limits::Budget,
    model::{Envelope, Hasher, Job, Scope, Seal, Timestamp, UploadId},
    outcomes::Outcomes,
    queue::{Holder, JobQueue as _},
    resilience::RetriesOf,
    shutdown::{Stop, Tasks},
    stack::Stack,
    storage::{
        self, Blobs as _, BodyError, Key, Source,
        disk::{DiskBlobs, Options},
    },
    telemetry::metrics::Registry,
};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

pub(crate) use self::{
    blobs::Blobs,
    meta::Meta,
    queue::Queue,
    receiver::{Receiver, Reply},
};
use crate::Processor;

/// A processor's surroundings.
#[derive(Debug)]
pub(crate) struct House {
    pub(crate) stack: Stack,
    pub(crate) settings: Settings,
    pub(crate) blobs: Arc<Blobs>,
    pub(crate) meta: Arc<Meta>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) tasks: Tasks,
    folder: TempDir,
}

impl House {
    /// With a queue for `capacity` jobs. The clock stands five minutes ahead, so that everything on the disk has settled.
    pub(crate) fn new(capacity: usize) -> Self {
        Self::with_lease(capacity, Duration::from_secs(60))
    }

    /// The same, with leases of this time.
    pub(crate) fn with_lease(capacity: usize, lease: Duration) -> Self {
        let folder = TempDir::new().unwrap();
        let disk = DiskBlobs::open(
            folder.path(),
            Options { fsync: false, small_body: 1 << 16 },
            Budget::new(1 << 24),
        )
        .unwrap();
        let mut settings = config::load(None, []).unwrap().settings;
        settings.notify.allow_private = true;
        settings.queue.lease = Span(lease);
        let (blobs, meta) = (Arc::new(Blobs::new(disk)), Arc::new(Meta::default()));
        let queue = Arc::new(Queue::new(capacity, lease));
        let tasks = Tasks::new(Stop::new());
        let stack = Stack {
            node: Holder("test".into()),
            clock: Clock::manual(Clock::system().now().after(Duration::from_secs(300))),
            blobs: Arc::clone(&blobs) as _,
            queue: Arc::clone(&queue) as _,
            meta: Arc::clone(&meta) as _,
            outcomes: Outcomes::default(),
            registry: Registry::default(),
            retries: RetriesOf::default(),
            tasks: Tasks::new(Stop::new()),
        };
        Self { stack, settings, blobs, meta, queue, tasks, folder }
    }

    /// The parts of a processor, without its tasks.
    pub(crate) fn processor(&self) -> Arc<Processor> {
        Processor::new(&self.stack, &self.settings)
    }

    /// Starts all tasks.
    pub(crate) fn start(&self) {
        crate::start(&self.stack, &self.settings, &self.tasks).unwrap();
    }

    /// Stops all tasks, and waits for them.
    pub(crate) async fn drain(&self) {
        self.tasks.stop().cancel();
        assert!(self.tasks.drain(Duration::from_secs(10)).await, "{:?} did not end", self.tasks);
    }

    /// Stores an object as ingest would, but makes no job.
    pub(crate) async fn store(&self, path: &str, content: &str) -> Job {
        let id = Clock::system().upload_id();
        self.store_as(id, path, content).await
    }

    /// The same, under an id.
    pub(crate) async fn store_as(&self, id: UploadId, path: &str, content: &str) -> Job {
        let envelope = envelope(path);
        let mut body = Body::new(content);
        let seal = self.stack.blobs.put(&self.key(id), &envelope, &mut body).await.unwrap();
        Job::object_stored(id, envelope, seal, false)
    }

    /// Stores objects and queues their jobs.
    pub(crate) async fn upload(&self, paths: impl IntoIterator<Item = String>) -> Vec<Job> {
        let mut jobs = Vec::new();
        for path in paths {
            let job = self.store(&path, &path).await;
            self.queue.push(job.clone(), None).await.unwrap();
            jobs.push(job);
        }
        jobs
    }

    /// Where an object is.
    pub(crate) fn key(&self, id: UploadId) -> Key {
        Key::object(&Scope::default(), id)
    }

    /// Whether the bytes of an upload are there.
    pub(crate) async fn has_bytes(&self, id: UploadId) -> bool {
        !matches!(self.blobs.stat(&[self.key(id)]).await.remove(0), Err(storage::Error::NotFound))
    }

    /// Changes bytes behind the store's back, keeping their number.
    pub(crate) fn damage(&self, id: UploadId) {
        use std::io::Write as _;
        let path = self.folder.path().join(self.key(id).as_str());
        let mut file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
        file.write_all(b"!").unwrap();
    }

    /// Replaces what an object says of itself by nonsense.
    pub(crate) fn garble_envelope(&self, id: UploadId) {
        let path = self.folder.path().join(self.key(id).as_str());
        rustix::fs::setxattr(path, "user.headworks", b"?", rustix::fs::XattrFlags::REPLACE).unwrap();
    }
}

/// What a client might say.
pub(crate) fn envelope(path: &str) -> Envelope {
    Envelope {
        scope: Scope::default(),
        path: path.parse().unwrap(),
        content_type: None,
        priority: Default::default(),
        only_if_absent: false,
        marker: None,
        request_id: None,
        trace: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().unwrap()),
    }
}

/// An id of an upload that began at `at`.
pub(crate) fn id_at(at: Timestamp) -> UploadId {
    UploadId::new(at, std::array::from_fn(|_| fastrand::u8(..)))
}

/// Waits for a state; fails with what it last was.
pub(crate) async fn until<T: std::fmt::Debug>(
    what: &str,
    state: impl Fn() -> T,
    reached: impl Fn(&T) -> bool,
) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let now = state();
        if reached(&now) {
            return;
        }
        assert!(Instant::now() < deadline, "{what}: it is {now:?}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// A body that is there already.
struct Body {
    content: Option<Bytes>,
    seal: Seal,
}

impl Body {
    fn new(content: &str) -> Self {
        let mut hasher = Hasher::new(false, false);
        hasher.update(content.as_bytes());
        let seal = Seal { size: content.len() as u64, digests: hasher.digests(), sniffed_type: None };
        Self { content: Some(Bytes::copy_from_slice(content.as_bytes())), seal }
    }
}

impl Source for Body {
    fn announced(&self) -> Option<u64> {
        Some(self.seal.size)
    }

    fn poll_chunk(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        Poll::Ready(self.content.take().map(Ok))
    }

    fn seal(&self) -> Seal {
        self.seal.clone()
    }
}
