//! Objects as files on a local disk.
//!
//! A body is written to a staged file, which gets its envelope as an extended attribute, is synced, and is then renamed to its
//! place, never onto another; last, its folder is synced, one sync for all who wait. So a file in place is whole and has its
//! envelope, whatever crashed when. Small bodies take one hop to a blocking thread for all of it.

mod attribute;
mod folders;
mod gather;
mod lanes;
mod probe;
mod read;
mod stage;
mod walk;

use std::{
    io,
    ops::Range,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::{task::JoinHandle, time::timeout};

use self::{
    folders::{Folders, Synced},
    gather::{Batch, Patience, gather},
    lanes::Lanes,
    stage::{Stage, Staged},
};
use super::{Blobs, Content, Error, Head, Health, Key, Listed, Prefix, PutError, Source};
use crate::{
    limits::Budget,
    model::{Envelope, Seal},
};

pub use probe::ProbeError;

/// The most bytes of one body written in one hop; larger gains nothing, smaller costs hops.
const MAX_BATCH: usize = 256 << 10;

/// The least, however many streams there are.
const MIN_BATCH: usize = 64 << 10;

/// What the batches of all streams together should come to.
const BATCHES_OF_ALL: usize = 16 << 20;

/// Threads that wait for a disk: so many syncs at once share the file system's journal.
const SYNCING: usize = 64;

/// The longest wait for one piece of work: a disk that is only busy is done long before.
const PATIENCE: Duration = Duration::from_secs(60);

/// With more streams than this, the others keep the cores busy while one waits for its write.
const OVERLAP_BELOW: usize = 8;

/// How objects are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// Whether a put survives a power cut.
    pub fsync: bool,
    /// Bodies up to this many bytes are gathered whole before a file is made.
    pub small_body: usize,
}

/// A store on a local disk.
#[derive(Debug)]
pub struct DiskBlobs {
    inner: Arc<Inner>,
    /// Where bodies are written; everything else has threads of its own.
    lanes: Lanes,
    budget: Budget,
    small_body: usize,
    streams: Arc<AtomicUsize>,
}

/// What blocking threads work with.
#[derive(Debug)]
struct Inner {
    root: PathBuf,
    stage: Stage,
    folders: Folders,
    fsync: bool,
}

impl DiskBlobs {
    /// Opens the store in the folder `root`, makes it if need be, and tries out what it needs of the file system.
    ///
    /// # Errors
    /// When the folder cannot be written to, or its file system keeps no extended attributes or knows no create-only rename.
    pub fn open(root: &Path, options: Options, budget: Budget) -> Result<Self, ProbeError> {
        probe::prepare(root)?;
        let stage =
            Stage::open(root).map_err(|source| ProbeError::Write { folder: root.to_owned(), source })?;
        probe::try_out(root, &stage)?;
        let Options { fsync, small_body } = options;
        let inner = Inner { root: root.to_owned(), stage, folders: Folders::new(fsync), fsync };
        // Without syncs writing is work for a core, and not waiting.
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let lanes = Lanes::new(if fsync { SYNCING } else { cores });
        Ok(Self { inner: Arc::new(inner), lanes, budget, small_body, streams: Arc::default() })
    }

    async fn put_batches(
        &self,
        key: &Key,
        envelope: &Envelope,
        body: &mut dyn Source,
        first: Batch,
    ) -> Result<Seal, PutError> {
        let live = Live::enter(&self.streams);
        let failed = |source| put_failed(key, source);
        let inner = Arc::clone(&self.inner);
        let mut writing = self.lanes.run(move || {
            let mut staged = inner.stage.create()?;
            staged.write(first.chunks())?;
            Ok(staged)
        });
        let mut ended = false;
        while !ended {
            let limit = (BATCHES_OF_ALL / live.count()).clamp(MIN_BATCH, MAX_BATCH);
            // Alone, a stream reads on while it writes; among many, it waits first and so holds one batch instead of two.
            let (batch, mut staged) = if live.count() <= OVERLAP_BELOW {
                let batch = gather(body, &self.budget, limit, Patience::Ready).await?;
                (batch, within(writing).await.map_err(failed)?)
            } else {
                let staged = within(writing).await.map_err(failed)?;
                (gather(body, &self.budget, limit, Patience::Ready).await?, staged)
            };
            ended = batch.ended;
            writing = self.lanes.run(move || staged.write(batch.chunks()).map(|()| staged));
        }
        let staged = within(writing).await.map_err(failed)?;
        let seal = body.seal();
        self.publish(key, attribute::encode(envelope, &seal), move |_| Ok(staged)).await?;
        Ok(seal)
    }

    /// Makes a staged file visible, and returns when it is as durable as was asked for.
    async fn publish(
        &self,
        key: &Key,
        attribute: Vec<u8>,
        staged: impl FnOnce(&Stage) -> io::Result<Staged> + Send + 'static,
    ) -> Result<(), PutError> {
        let (inner, target) = (Arc::clone(&self.inner), key.clone());
        let published = within(self.lanes.run(move || inner.publish(&target, &attribute, staged)));
        let Published { new, synced } = published.await.map_err(|source| put_failed(key, source))?;
        synced.wait().await.map_err(|source| PutError::Unavailable { key: key.clone(), source })?;
        if new { Ok(()) } else { Err(PutError::Exists) }
    }

    /// Does something to an object, and returns when its folder is as durable as was asked for.
    async fn settle(
        &self,
        verb: &'static str,
        key: &Key,
        work: impl FnOnce(&Path) -> io::Result<()> + Send + 'static,
    ) -> Result<(), Error> {
        let (inner, place) = (Arc::clone(&self.inner), self.inner.path(key));
        let synced = within(self.lanes.run(move || {
            work(&place)?;
            inner.synced_folder(&place)
        }));
        let synced = synced.await.map_err(|source| failed(verb, key.as_str(), source))?;
        let unavailable = |source| Error::Unavailable { verb, subject: key.to_string(), source };
        synced.wait().await.map_err(unavailable)
    }
}

impl Inner {
    fn path(&self, key: &Key) -> PathBuf {
        self.root.join(key.as_str())
    }

    fn publish(
        &self,
        key: &Key,
        attribute: &[u8],
        staged: impl FnOnce(&Stage) -> io::Result<Staged>,
    ) -> io::Result<Published> {
        let mut staged = staged(&self.stage)?;
        if !attribute.is_empty() {
            attribute::write(staged.file()?, attribute)?;
        }
        if self.fsync {
            rustix::fs::fdatasync(staged.file()?)?;
        }
        let place = self.path(key);
        let folder = place.parent().unwrap_or(&self.root);
        self.folders.make(&self.root, folder)?;
        let new = match staged.rename(&place) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            Err(error) => return Err(error),
        };
        // Also where another was quicker: its own sync may still be on its way.
        Ok(Published { new, synced: self.folders.sync(folder) })
    }

    /// An object is missing only where the store is there.
    fn known<T>(&self, found: io::Result<T>) -> io::Result<T> {
        match found {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.stage.look().and(Err(error)),
            found => found,
        }
    }

    /// A folder that is not there needs no sync.
    fn synced_folder(&self, place: &Path) -> io::Result<Synced> {
        let folder = place.parent().unwrap_or(&self.root);
        Ok(if folder.try_exists()? { self.folders.sync(folder) } else { Synced::nothing() })
    }
}

/// A name that was given, by this put or by another one before.
struct Published {
    new: bool,
    synced: Synced,
}

#[async_trait]
impl Blobs for DiskBlobs {
    async fn put(&self, key: &Key, envelope: &Envelope, body: &mut dyn Source) -> Result<Seal, PutError> {
        let fits = body.announced().is_none_or(|length| length <= self.small_body as u64);
        let (limit, patience) =
            if fits { (self.small_body.max(1), Patience::Whole) } else { (MAX_BATCH, Patience::Ready) };
        let first = gather(body, &self.budget, limit, patience).await?;
        if !first.ended {
            return self.put_batches(key, envelope, body, first).await;
        }
        let seal = body.seal();
        let write = move |stage: &Stage| {
            let mut staged = stage.create()?;
            staged.write(first.chunks())?;
            Ok(staged)
        };
        self.publish(key, attribute::encode(envelope, &seal), write).await?;
        Ok(seal)
    }

    async fn create(&self, key: &Key, content: Bytes) -> Result<(), PutError> {
        let write = move |stage: &Stage| {
            let mut staged = stage.create()?;
            staged.write(&[content])?;
            Ok(staged)
        };
        self.publish(key, Vec::new(), write).await
    }

    async fn confirm(&self, key: &Key) -> Result<(), Error> {
        self.settle("confirm", key, |_| Ok(())).await
    }

    async fn stat(&self, keys: &[Key]) -> Vec<Result<Head, Error>> {
        let (inner, asked) = (Arc::clone(&self.inner), keys.to_vec());
        let heads = move || {
            let head = |key| inner.known(attribute::head(&inner.path(key)));
            Ok(asked.iter().map(head).collect::<Vec<_>>())
        };
        let answer = within(hop(heads)).await;
        let answers = answer
            .unwrap_or_else(|error| keys.iter().map(|_| Err(io::Error::other(error.to_string()))).collect());
        keys.iter()
            .zip(answers)
            .map(|(key, head)| head.map_err(|source| failed("stat", key.as_str(), source)))
            .collect()
    }

    async fn read(&self, key: &Key, range: Option<Range<u64>>) -> Result<Content, Error> {
        let inner = Arc::clone(&self.inner);
        read::open(inner, range, key.clone()).await.map_err(|source| failed("read", key.as_str(), source))
    }

    async fn delete(&self, key: &Key) -> Result<(), Error> {
        let inner = Arc::clone(&self.inner);
        let remove = move |place: &Path| match std::fs::remove_file(place) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => inner.stage.look(),
            removed => removed,
        };
        self.settle("delete", key, remove).await
    }

    async fn list(&self, prefix: &Prefix, after: Option<&Key>, limit: usize) -> Result<Vec<Listed>, Error> {
        let (inner, wanted, behind) = (Arc::clone(&self.inner), prefix.clone(), after.cloned());
        let walk = move || {
            let page =
                walk::list(&inner.root, wanted.as_str(), behind.as_ref().map_or("", Key::as_str), limit)?;
            inner.stage.look().map(|()| page)
        };
        within(hop(walk)).await.map_err(|source| failed("list", prefix.as_str(), source))
    }

    async fn sweep_unfinished(&self, idle: Duration) -> Result<u64, Error> {
        let inner = Arc::clone(&self.inner);
        hop(move || inner.stage.sweep(idle)).await.map_err(|source| failed("sweep", "staged files", source))
    }

    async fn health(&self) -> Result<Health, Error> {
        let inner = Arc::clone(&self.inner);
        let look = move || {
            inner.stage.look()?;
            // A file system that met an error may have become read-only: only writing tells.
            drop(inner.stage.create()?);
            Ok(Health { free_ratio: Some(probe::free_ratio(&inner.root)?) })
        };
        within(hop(look)).await.map_err(|source| failed("look at", "the disk", source))
    }
}

/// Counts the streams that write in batches.
struct Live<'a>(&'a AtomicUsize);

impl<'a> Live<'a> {
    fn enter(streams: &'a AtomicUsize) -> Self {
        streams.fetch_add(1, Ordering::Relaxed);
        Self(streams)
    }

    fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed).max(1)
    }
}

impl Drop for Live<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Starts work on a blocking thread at once; the answer is its result.
fn hop<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Hop<T> {
    Hop(tokio::task::spawn_blocking(work))
}

/// Work on a blocking thread. When nobody waits for it any more, it still runs to its end, and its result is dropped there.
struct Hop<T>(JoinHandle<io::Result<T>>);

impl<T> Future for Hop<T> {
    type Output = io::Result<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        Pin::new(&mut self.0)
            .poll(context)
            .map(|result| result.unwrap_or_else(|error| Err(io::Error::other(error))))
    }
}

/// Waits for work no longer than [`PATIENCE`]; it may still be done later.
async fn within<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(PATIENCE, work).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

fn put_failed(key: &Key, source: io::Error) -> PutError {
    match source.kind() {
        io::ErrorKind::AlreadyExists => PutError::Exists,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => PutError::Full,
        _ => PutError::Unavailable { key: key.clone(), source: Arc::new(source) },
    }
}

fn failed(verb: &'static str, subject: &str, source: io::Error) -> Error {
    match source.kind() {
        io::ErrorKind::NotFound => Error::NotFound,
        _ => Error::Unavailable { verb, subject: subject.to_owned(), source: Arc::new(source) },
    }
}

#[cfg(test)]
mod tests;
