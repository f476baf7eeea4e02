//! The only file that chooses backends: what a process stands on, made from its settings.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    clock::Clock,
    config::{Settings, Url, settings::Durability},
    limits::Budget,
    meta::{
        self,
        sqlite::{Options as MetaOptions, SqliteMeta},
    },
    outcomes::Outcomes,
    queue::{self, memory::MemoryQueue, sqlite::SqliteQueue},
    shutdown::Tasks,
    storage::{
        self,
        disk::{DiskBlobs, Options as DiskOptions, ProbeError},
    },
    telemetry::metrics::Registry,
};

/// Where a process is, and what it has of its own.
#[derive(Clone, Copy, Debug)]
pub struct Site<'a> {
    /// Where paths begin that begin with `./`.
    pub data_dir: &'a Path,
    /// The bytes of bodies that it may buffer.
    pub budget: &'a Budget,
    /// Runs tasks, and ends them.
    pub tasks: &'a Tasks,
    /// Where metrics are registered.
    pub registry: &'a Registry,
}

/// What every part of the program stands on that takes in or works off uploads.
#[derive(Clone, Debug)]
pub struct Stack {
    /// Names this process among its like.
    pub node: queue::Holder,
    /// Wall time.
    pub clock: Clock,
    /// Where objects are kept.
    pub blobs: Arc<dyn storage::Blobs>,
    /// Where jobs wait.
    pub queue: Arc<dyn queue::JobQueue>,
    /// Where metadata is kept.
    pub meta: Arc<dyn meta::Store>,
    /// Tells those who wait for an upload's end.
    pub outcomes: Outcomes,
    /// Where metrics are registered.
    pub registry: Registry,
    /// Runs tasks, and ends them.
    pub tasks: Tasks,
}

/// What a part stands on that has nothing to do with the queue.
#[derive(Clone, Debug)]
pub struct Stores {
    /// Wall time.
    pub clock: Clock,
    /// Where objects are kept.
    pub blobs: Arc<dyn storage::Blobs>,
    /// Where metadata is kept.
    pub meta: Arc<dyn meta::Store>,
    /// Where metrics are registered.
    pub registry: Registry,
    /// Runs tasks, and ends them.
    pub tasks: Tasks,
}

impl Stack {
    /// Opens every backend that the settings name.
    ///
    /// # Errors
    /// When one of them cannot be opened: which, and why.
    pub async fn open(settings: &Settings, site: &Site<'_>) -> Result<Self, OpenError> {
        let Stores { clock, blobs, meta, registry, tasks } = Stores::open(settings, site).await?;
        let queue = open_queue(settings, site, &clock).await?;
        let node = queue::Holder(format!("{:016x}", fastrand::u64(..)).into());
        Ok(Self { node, clock, blobs, queue, meta, outcomes: Outcomes::default(), registry, tasks })
    }

    /// All of it but the queue.
    pub fn stores(&self) -> Stores {
        Stores {
            clock: self.clock.clone(),
            blobs: Arc::clone(&self.blobs),
            meta: Arc::clone(&self.meta),
            registry: self.registry.clone(),
            tasks: self.tasks.clone(),
        }
    }
}

impl Stores {
    /// Opens the stores that the settings name.
    ///
    /// # Errors
    /// When one of them cannot be opened: which, and why.
    pub async fn open(settings: &Settings, site: &Site<'_>) -> Result<Self, OpenError> {
        let meta = open_meta(settings, site.data_dir, SqliteMeta::open)?;
        let open = if meta.knows_uploads() { DiskBlobs::reopen } else { DiskBlobs::open };
        let blobs =
            open_blobs(settings, site.data_dir, |root, options| open(root, options, site.budget.clone()))?;
        Ok(Self {
            clock: Clock::system(),
            blobs,
            meta: Arc::new(meta),
            registry: site.registry.clone(),
            tasks: site.tasks.clone(),
        })
    }
}

/// Opens the store of objects alone, to read it beside the process that writes it.
///
/// # Errors
/// When it cannot be opened.
pub fn open_blobs_to_read(
    settings: &Settings,
    data_dir: &Path,
    budget: &Budget,
) -> Result<Arc<dyn storage::Blobs>, OpenError> {
    open_blobs(settings, data_dir, |root, _| DiskBlobs::open_to_read(root, budget.clone()))
}

fn open_blobs(
    settings: &Settings,
    data_dir: &Path,
    open: impl FnOnce(&Path, DiskOptions) -> Result<DiskBlobs, ProbeError>,
) -> Result<Arc<dyn storage::Blobs>, OpenError> {
    let storage = &settings.storage;
    let options = DiskOptions {
        fsync: storage.durability == Durability::Fsync,
        small_body: storage.small_body.as_usize(),
    };
    match storage.url.scheme() {
        "file" => {
            let disk = open(&in_dir(data_dir, &storage.url), options);
            Ok(Arc::new(disk.map_err(|source| OpenError::failed("storage", source))?))
        }
        _ => Err(OpenError::unknown("storage.url", &storage.url)),
    }
}

async fn open_queue(
    settings: &Settings,
    site: &Site<'_>,
    clock: &Clock,
) -> Result<Arc<dyn queue::JobQueue>, OpenError> {
    let queue = &settings.queue;
    let rules =
        queue::Settings { capacity: queue.capacity, lease: queue.lease.0, credit_ttl: queue.credit_ttl.0 };
    match queue.url.scheme() {
        "memory" => Ok(Arc::new(MemoryQueue::new(rules))),
        "sqlite" => {
            let opened = SqliteQueue::open(&in_dir(site.data_dir, &queue.url), rules, clock.clone());
            Ok(Arc::new(opened.map_err(|source| OpenError::failed("queue", source))?))
        }
        _ => Err(OpenError::unknown("queue.url", &queue.url)),
    }
}

/// Where the queue's file is, for those who look into it from outside.
///
/// # Errors
/// When the queue is not in a file.
pub fn queue_file(settings: &Settings, data_dir: &Path) -> Result<PathBuf, OpenError> {
    match settings.queue.url.scheme() {
        "sqlite" => Ok(in_dir(data_dir, &settings.queue.url)),
        _ => Err(OpenError::unknown("queue.url", &settings.queue.url)),
    }
}

/// Opens the metadata alone, to read it beside the process that writes it.
///
/// # Errors
/// When it cannot be opened.
pub fn open_meta_to_read(settings: &Settings, data_dir: &Path) -> Result<Arc<dyn meta::Store>, OpenError> {
    Ok(Arc::new(open_meta(settings, data_dir, SqliteMeta::open_to_read)?))
}

fn open_meta<E: std::error::Error + Send + Sync + 'static>(
    settings: &Settings,
    data_dir: &Path,
    open: impl FnOnce(&Path, MetaOptions) -> Result<SqliteMeta, E>,
) -> Result<SqliteMeta, OpenError> {
    let metadata = &settings.metadata;
    let options = MetaOptions { pool: metadata.pool, acquire_timeout: metadata.acquire_timeout.0 };
    match metadata.url.scheme() {
        "sqlite" => open(&in_dir(data_dir, &metadata.url), options)
            .map_err(|source| OpenError::failed("metadata", source)),
        _ => Err(OpenError::unknown("metadata.url", &metadata.url)),
    }
}

/// Whether a backend lies in the data directory, which nobody else has.
pub fn is_in_data_dir(url: &Url) -> bool {
    url.rest().starts_with("./")
}

/// `/absolute` as it is; `./relative` in the data directory.
fn in_dir(data_dir: &Path, url: &Url) -> PathBuf {
    data_dir.join(url.rest().strip_prefix("./").unwrap_or(url.rest()))
}

/// A backend cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No backend has this URL.
    #[error("no backend for {key} = {url}")]
    Unknown {
        /// The setting.
        key: &'static str,
        /// Its value.
        url: Url,
    },
    /// The backend says no.
    #[error("open {part}")]
    Failed {
        /// Storage, queue or metadata.
        part: &'static str,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
        /// Whether it may be there later.
        may_pass: bool,
    },
}

impl OpenError {
    fn unknown(key: &'static str, url: &Url) -> Self {
        Self::Unknown { key, url: url.clone() }
    }

    fn failed(part: &'static str, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Failed { part, source: Box::new(source), may_pass: false }
    }

    /// Whether it is worth another try: the backend could not be reached.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Failed { may_pass: true, .. })
    }
}
