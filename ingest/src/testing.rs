//! Ingest in a test: on a real disk, in a folder that goes when the test ends, and in front of a store that keeps no seals, as one that
//! is given a body as it comes cannot.

use std::{
    collections::VecDeque,
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use headworks_shared::{
    clock::Clock,
    config,
    limits::Gate,
    meta::Store,
    model::{Envelope, Scope, Seal, UploadId},
    stack::{Site, Stack},
    storage::{Blobs, BodyError, Content, Error, Head, Health, Key, Listed, Prefix, PutError, Source},
};
use tempfile::TempDir;

use crate::{
    Ingest,
    body::{Frame, Frames},
};

/// Ingest, and what it stands on.
#[derive(Debug)]
pub(crate) struct House {
    pub(crate) ingest: Ingest,
    pub(crate) stack: Stack,
    pub(crate) blobs: Arc<Sealless>,
    _folder: TempDir,
}

impl House {
    pub(crate) async fn new() -> Self {
        Self::with(&[]).await
    }

    /// With these variables in its environment.
    pub(crate) async fn with(variables: &[(&str, &str)]) -> Self {
        let folder = TempDir::new().unwrap();
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let settings = config::load(None, variables).unwrap().settings;
        let site = Site::new(folder.path(), &settings);
        let mut stack = Box::pin(Stack::open(&settings, &site)).await.unwrap();
        let blobs = Arc::new(Sealless::new(Arc::clone(&stack.blobs)));
        stack.blobs = Arc::clone(&blobs) as _;
        let ingest = Ingest::start(&stack, &settings, Gate::default(), &site.budget, &site.tasks);
        Self { ingest, stack, blobs, _folder: folder }
    }
}

/// A store that keeps no seals.
#[derive(Debug)]
pub(crate) struct Sealless {
    inner: Arc<dyn Blobs>,
    reads: AtomicUsize,
    /// Deleted by somebody before the next look at anything.
    doomed: Mutex<Option<(Arc<dyn Store>, UploadId)>>,
    /// The next look at anything comes before it was put.
    early: AtomicBool,
    looks: AtomicUsize,
    /// `None`: it does not answer.
    health: Mutex<Option<Health>>,
}

impl Sealless {
    fn new(inner: Arc<dyn Blobs>) -> Self {
        Self {
            inner,
            reads: AtomicUsize::new(0),
            doomed: Mutex::default(),
            early: AtomicBool::new(false),
            looks: AtomicUsize::new(0),
            health: Mutex::new(Some(Health { free_ratio: None })),
        }
    }

    /// Deletes an upload of the default scope right before the next look at anything.
    pub(crate) fn delete_before_look(&self, meta: &Arc<dyn Store>, id: UploadId) {
        *self.doomed.lock().unwrap() = Some((Arc::clone(meta), id));
    }

    /// Lets the next look come before anything was put.
    pub(crate) fn look_early(&self) {
        self.early.store(true, Ordering::Relaxed);
    }

    /// What it says of itself from now on; nothing when `None`.
    pub(crate) fn set_health(&self, health: Option<Health>) {
        *self.health.lock().unwrap() = health;
    }

    /// How often it was asked how it is.
    pub(crate) fn looks(&self) -> usize {
        self.looks.load(Ordering::Relaxed)
    }

    /// How many objects were read back.
    pub(crate) fn reads(&self) -> usize {
        self.reads.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Blobs for Sealless {
    async fn put(&self, key: &Key, envelope: &Envelope, body: &mut dyn Source) -> Result<Seal, PutError> {
        self.inner.put(key, envelope, body).await
    }

    async fn create(&self, key: &Key, content: Bytes) -> Result<(), PutError> {
        self.inner.create(key, content).await
    }

    async fn confirm(&self, key: &Key) -> Result<(), Error> {
        self.inner.confirm(key).await
    }

    async fn stat(&self, keys: &[Key]) -> Vec<Result<Head, Error>> {
        let doomed = self.doomed.lock().unwrap().take();
        if let Some((meta, id)) = doomed {
            let scope = Scope::default();
            meta.delete(&scope, id, None, Clock::system().now()).await.unwrap();
            self.inner.delete(&Key::object(&scope, id)).await.unwrap();
        }
        if self.early.swap(false, Ordering::Relaxed) {
            return keys.iter().map(|_| Err(Error::NotFound)).collect();
        }
        let heads = self.inner.stat(keys).await;
        heads.into_iter().map(|head| head.map(|head| Head { seal: None, ..head })).collect()
    }

    async fn read(&self, key: &Key, range: Option<Range<u64>>) -> Result<Content, Error> {
        self.reads.fetch_add(usize::from(key.upload().is_some()), Ordering::Relaxed);
        self.inner.read(key, range).await
    }

    async fn delete(&self, key: &Key) -> Result<(), Error> {
        self.inner.delete(key).await
    }

    async fn list(&self, prefix: &Prefix, after: Option<&Key>, limit: usize) -> Result<Vec<Listed>, Error> {
        self.inner.list(prefix, after, limit).await
    }

    async fn sweep_unfinished(&self, idle: Duration) -> Result<u64, Error> {
        self.inner.sweep_unfinished(idle).await
    }

    async fn health(&self) -> Result<Health, Error> {
        self.looks.fetch_add(1, Ordering::Relaxed);
        let health = *self.health.lock().unwrap();
        match health {
            Some(health) => Ok(health),
            None => std::future::pending().await,
        }
    }
}

/// A body whose pieces are there already; it counts those that were read.
pub(crate) struct Pieces {
    left: VecDeque<Bytes>,
    pub(crate) read: Arc<AtomicUsize>,
}

impl Pieces {
    pub(crate) fn of(text: &'static str) -> Self {
        Self { left: [Bytes::from_static(text.as_bytes())].into(), read: Arc::default() }
    }
}

impl Frames for Pieces {
    fn poll_frame(&mut self, _: &mut Context<'_>, _: u64) -> Poll<Result<Option<Frame>, BodyError>> {
        let piece = self.left.pop_front();
        self.read.fetch_add(usize::from(piece.is_some()), Ordering::Relaxed);
        Poll::Ready(Ok(piece.map(Frame::Data)))
    }
}
