//! Objects as files on a local disk.
//!
//! A body is written to a staged file, which gets its envelope as an extended attribute, is synced, and is then renamed to its
//! place, never onto another; last, its folder is synced, one sync for all who wait. So a file in place is whole and has its
//! envelope, whatever crashed when. Small bodies take one hop to a blocking thread for all of it, or none where nobody waits for
//! the disk; there, where Linux allows it, their file has no name at all until it gets the one of its place.

mod attribute;
mod folders;
mod gather;
mod lanes;
mod probe;
mod read;
mod spot;
mod stage;
mod through;
mod tree;
mod walk;

use std::{
    future::ready,
    io,
    ops::Range,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;

use self::{
    gather::{Batch, Patience, gather},
    lanes::{Lanes, Running, hop, within},
    stage::{Stage, Staged},
    through::Way,
    tree::{Published, Tree},
};
use super::{Blobs, Content, Error, Head, Health, Key, Listed, Prefix, PutError, Source};
use crate::{
    limits::Budget,
    model::{Envelope, Seal},
};

pub use probe::ProbeError;

/// The most bytes of one body written in one hop; larger gains nothing, smaller costs hops.
const MAX_BATCH: usize = 512 << 10;

/// The least, however many streams there are.
const MIN_BATCH: usize = 64 << 10;

/// What the batches of all streams together should come to.
const BATCHES_OF_ALL: usize = 16 << 20;

/// Threads that wait for a disk: so many syncs at once share the file system's journal. The runtime's pool must have more: all else
/// that blocks needs some too.
pub const SYNCING: usize = 64;

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
    tree: Arc<Tree>,
    /// Where bodies are written; everything else has threads of its own.
    lanes: Lanes,
    budget: Budget,
    small_body: usize,
    streams: Arc<AtomicUsize>,
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
        // A wait for the disk hides what a rename costs, and of a rename it is known everywhere that a sync keeps it.
        let stage = if options.fsync { stage } else { probe::without_names(root, stage) };
        Ok(Self::new(root, stage, options, budget))
    }

    /// Opens a store that must be there, because uploads in it are known. An empty folder in its place would say that all of them
    /// are gone.
    ///
    /// # Errors
    /// When there is no store in the folder; and as [`Self::open`].
    pub fn reopen(root: &Path, options: Options, budget: Budget) -> Result<Self, ProbeError> {
        probe::find(root)?;
        Self::open(root, options, budget)
    }

    /// Opens a store to read it, beside the process that writes it.
    ///
    /// # Errors
    /// When there is no store in the folder.
    pub fn open_to_read(root: &Path, budget: Budget) -> Result<Self, ProbeError> {
        probe::find(root)?;
        Ok(Self::new(root, Stage::of(root), Options { fsync: false, small_body: 0 }, budget))
    }

    fn new(root: &Path, stage: Stage, options: Options, budget: Budget) -> Self {
        let Options { fsync, small_body } = options;
        let tree = Arc::new(Tree::new(root, stage, fsync));
        // Without syncs writing is work for a core, and not waiting.
        let lanes = if fsync { Lanes::new(SYNCING) } else { Lanes::of_cores() };
        Self { tree, lanes, budget, small_body, streams: Arc::default() }
    }

    /// Writes a body that is still coming, behind what was gathered of it.
    async fn put_coming(
        &self,
        key: &Key,
        envelope: &Envelope,
        body: &mut dyn Source,
        first: Option<Batch>,
    ) -> Result<Seal, PutError> {
        let live = Live::enter(&self.streams);
        let failed = |source| put_failed(key, source);
        let mut writing = first.map(|first| self.write(None, first, &live));
        loop {
            // Alone, a stream reads on while it writes; among many, it waits first and so holds one batch instead of two, or none.
            let alone = live.is_alone();
            let mut staged = if alone { None } else { written(writing.take()).await.map_err(failed)? };
            if !alone && let Some(spot) = self.lanes.spot() {
                let way = Way { spot, budget: &self.budget, tree: &self.tree, key, envelope };
                if let Some(published) = way.pass(body, &mut staged).await?.map_err(failed)? {
                    self.published(key, ready(Ok(published))).await?;
                    return Ok(body.seal());
                }
            }
            let batch = self.gather(key, body, batch(live.count()), Patience::Ready).await?;
            if alone {
                staged = written(writing.take()).await.map_err(failed)?;
            }
            if batch.ended {
                let seal = body.seal();
                let attribute = attribute::encode(envelope, &seal);
                self.publish(key, attribute, move |stage| stage.write_behind(staged, batch.chunks())).await?;
                return Ok(seal);
            }
            writing = Some(self.write(staged, batch, &live));
        }
    }

    /// Begins to write a batch, behind those before it.
    fn write(&self, staged: Option<Staged>, batch: Batch, live: &Live<'_>) -> Running<Staged> {
        let tree = Arc::clone(&self.tree);
        let write = move || tree.stage.write_behind(staged, batch.chunks());
        if live.is_alone() { self.lanes.run(write) } else { self.lanes.run_here(write) }
    }

    /// The next bytes of a body. Who gets no room for them in time is told that the store is not there for it.
    async fn gather(
        &self,
        key: &Key,
        body: &mut dyn Source,
        limit: usize,
        patience: Patience,
    ) -> Result<Batch, PutError> {
        let bytes = patience.first_lease(body.announced(), limit);
        let lease = within(async { Ok(self.budget.lease(bytes).await) })
            .await
            .map_err(|source| put_failed(key, source))?;
        Ok(gather(body, lease, limit, patience).await?)
    }

    /// Makes a staged file visible, and returns when it is as durable as was asked for.
    async fn publish(
        &self,
        key: &Key,
        attribute: Vec<u8>,
        staged: impl FnOnce(&Stage) -> io::Result<Staged> + Send + 'static,
    ) -> Result<(), PutError> {
        let (tree, target) = (Arc::clone(&self.tree), key.clone());
        let work = self.lanes.run_here(move || tree.publish(&target, &attribute, staged(&tree.stage)?));
        self.published(key, work).await
    }

    /// Returns when what was made visible is as durable as was asked for.
    async fn published(
        &self,
        key: &Key,
        work: impl Future<Output = io::Result<Published>>,
    ) -> Result<(), PutError> {
        let published = async {
            let Published { new, synced } = work.await?;
            synced.wait().await.map_err(io::Error::other)?;
            Ok(new)
        };
        match within(published).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(PutError::Exists),
            Err(source) => Err(put_failed(key, source)),
        }
    }

    /// Does something to an object, and returns when its folder is as durable as was asked for.
    async fn settle(
        &self,
        verb: &'static str,
        key: &Key,
        work: impl FnOnce(&Path) -> io::Result<()> + Send + 'static,
    ) -> Result<(), Error> {
        let (tree, place) = (Arc::clone(&self.tree), self.tree.path(key));
        let work = self.lanes.run(move || {
            tree.here()?;
            work(&place)?;
            tree.sync_folder_of(&place)
        });
        let settled = within(async { work.await?.wait().await.map_err(io::Error::other) });
        settled.await.map_err(|source| unavailable(verb, key.as_str(), source))
    }
}

#[async_trait]
impl Blobs for DiskBlobs {
    async fn put(&self, key: &Key, envelope: &Envelope, body: &mut dyn Source) -> Result<Seal, PutError> {
        let announced = body.announced();
        let first = if announced.is_none_or(|length| length <= self.small_body as u64) {
            self.gather(key, body, self.small_body.max(1), Patience::Whole).await?
        } else if self.lanes.spot().is_some() {
            return self.put_coming(key, envelope, body, None).await;
        } else {
            self.gather(key, body, batch(self.streams.load(Ordering::Relaxed)), Patience::Ready).await?
        };
        if !first.ended {
            return self.put_coming(key, envelope, body, Some(first)).await;
        }
        let seal = body.seal();
        let attribute = attribute::encode(envelope, &seal);
        self.publish(key, attribute, move |stage| stage.write_whole(first.chunks())).await?;
        Ok(seal)
    }

    async fn create(&self, key: &Key, content: Bytes) -> Result<(), PutError> {
        self.publish(key, Vec::new(), move |stage| stage.write_whole(&[content])).await
    }

    async fn confirm(&self, key: &Key) -> Result<(), Error> {
        self.settle("confirm", key, |_| Ok(())).await
    }

    async fn stat(&self, keys: &[Key]) -> Vec<Result<Head, Error>> {
        let (tree, asked) = (Arc::clone(&self.tree), keys.to_vec());
        let head = move |key: &Key| tree.judge(attribute::head(&tree.path(key)));
        let heads = move || Ok(asked.iter().map(head).collect::<Vec<_>>());
        let answer = within(hop(heads)).await;
        let answers = answer
            .unwrap_or_else(|error| keys.iter().map(|_| Err(io::Error::other(error.to_string()))).collect());
        keys.iter()
            .zip(answers)
            .map(|(key, head)| head.map_err(|source| failed("stat", key.as_str(), source)))
            .collect()
    }

    async fn read(&self, key: &Key, range: Option<Range<u64>>) -> Result<Content, Error> {
        read::open(Arc::clone(&self.tree), range, key.clone())
            .await
            .map_err(|source| failed("read", key.as_str(), source))
    }

    async fn delete(&self, key: &Key) -> Result<(), Error> {
        let remove = |place: &Path| match std::fs::remove_file(place) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
        self.settle("delete", key, remove).await
    }

    async fn list(&self, prefix: &Prefix, after: Option<&Key>, limit: usize) -> Result<Vec<Listed>, Error> {
        let (tree, wanted, behind) = (Arc::clone(&self.tree), prefix.clone(), after.cloned());
        let walk = move || {
            tree.here()?;
            walk::list(&tree.root, wanted.as_str(), behind.as_ref().map_or("", Key::as_str), limit)
        };
        within(hop(walk)).await.map_err(|source| unavailable("list", prefix.as_str(), source))
    }

    async fn sweep_unfinished(&self, idle: Duration) -> Result<u64, Error> {
        let tree = Arc::clone(&self.tree);
        let sweep = within(hop(move || tree.stage.sweep(idle)));
        sweep.await.map_err(|source| unavailable("sweep", "staged files", source))
    }

    async fn health(&self) -> Result<Health, Error> {
        let tree = Arc::clone(&self.tree);
        let look = within(hop(move || {
            tree.here()?;
            probe::free_ratio(&tree.root).map(|free| Health { free_ratio: Some(free) })
        }));
        look.await.map_err(|source| unavailable("look at", "the disk", source))
    }
}

/// How large a batch may become among so many.
fn batch(streams: usize) -> usize {
    (BATCHES_OF_ALL / streams.max(1)).clamp(MIN_BATCH, MAX_BATCH)
}

/// What was written so far, once it is.
async fn written(writing: Option<Running<Staged>>) -> io::Result<Option<Staged>> {
    match writing {
        Some(writing) => within(writing).await.map(Some),
        None => Ok(None),
    }
}

/// Counts the streams that write in batches.
struct Live<'a>(&'a AtomicUsize);

impl<'a> Live<'a> {
    fn enter(streams: &'a AtomicUsize) -> Self {
        streams.fetch_add(1, Ordering::Relaxed);
        Self(streams)
    }

    /// Whether so few are at it that the cores have time.
    fn is_alone(&self) -> bool {
        self.count() <= OVERLAP_BELOW
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
        io::ErrorKind::InvalidData => {
            Error::Damaged { subject: subject.to_owned(), source: Arc::new(source) }
        }
        _ => unavailable(verb, subject, source),
    }
}

fn unavailable(verb: &'static str, subject: &str, source: io::Error) -> Error {
    Error::Unavailable { verb, subject: subject.to_owned(), source: Arc::new(source) }
}

#[cfg(test)]
mod tests;
