//! A store that can be out of reach.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use headworks_shared::{
    model::{Envelope, Seal},
    storage::{self, Content, Error, Head, Health, Key, Listed, Prefix, PutError, Source, disk::DiskBlobs},
};

/// Objects on a disk, while it is not down.
#[derive(Debug)]
pub(crate) struct Blobs {
    disk: DiskBlobs,
    down: AtomicBool,
    /// Whether it keeps no seals, as a store that is given a body as it comes cannot.
    sealless: AtomicBool,
}

impl Blobs {
    pub(super) fn new(disk: DiskBlobs) -> Self {
        Self { disk, down: AtomicBool::new(false), sealless: AtomicBool::new(false) }
    }

    pub(crate) fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::Relaxed);
    }

    pub(crate) fn forget_seals(&self) {
        self.sealless.store(true, Ordering::Relaxed);
    }

    fn up(&self) -> Result<(), Error> {
        let source = Arc::new(std::io::Error::other("store is down"));
        let error = Error::Unavailable { verb: "reach", subject: "the store".into(), source };
        if self.down.load(Ordering::Relaxed) { Err(error) } else { Ok(()) }
    }
}

#[async_trait]
impl storage::Blobs for Blobs {
    async fn put(&self, key: &Key, envelope: &Envelope, body: &mut dyn Source) -> Result<Seal, PutError> {
        self.disk.put(key, envelope, body).await
    }

    async fn create(&self, key: &Key, content: Bytes) -> Result<(), PutError> {
        self.disk.create(key, content).await
    }

    async fn confirm(&self, key: &Key) -> Result<(), Error> {
        self.up()?;
        self.disk.confirm(key).await
    }

    async fn stat(&self, keys: &[Key]) -> Vec<Result<Head, Error>> {
        match self.up() {
            Ok(()) if self.sealless.load(Ordering::Relaxed) => {
                let heads = self.disk.stat(keys).await;
                heads.into_iter().map(|head| head.map(|head| Head { seal: None, ..head })).collect()
            }
            Ok(()) => self.disk.stat(keys).await,
            Err(_) => keys.iter().map(|_| self.up().and(Err(Error::NotFound))).collect(),
        }
    }

    async fn read(&self, key: &Key, range: Option<Range<u64>>) -> Result<Content, Error> {
        self.up()?;
        self.disk.read(key, range).await
    }

    async fn delete(&self, key: &Key) -> Result<(), Error> {
        self.up()?;
        self.disk.delete(key).await
    }

    async fn list(&self, prefix: &Prefix, after: Option<&Key>, limit: usize) -> Result<Vec<Listed>, Error> {
        self.up()?;
        self.disk.list(prefix, after, limit).await
    }

    async fn sweep_unfinished(&self, idle: Duration) -> Result<u64, Error> {
        self.up()?;
        self.disk.sweep_unfinished(idle).await
    }

    async fn health(&self) -> Result<Health, Error> {
        self.up()?;
        self.disk.health().await
    }
}
