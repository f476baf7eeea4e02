//! The only file that chooses backends: what a process stands on, made from its settings.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    clock::Clock,
    config::{Settings, settings::Durability},
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

/// What every part of the program stands on.
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

impl Stack {
    /// Opens every backend that the settings name; paths that begin with `./` lie in `data_dir`.
    ///
    /// # Errors
    /// When one of them cannot be opened: which, and why.
    pub fn open(
        settings: &Settings,
        data_dir: &Path,
        budget: &Budget,
        tasks: &Tasks,
    ) -> Result<Self, OpenError> {
        let clock = Clock::system();
        let meta = open_meta(settings, data_dir, SqliteMeta::open)?;
        let open = if meta.knows_uploads() { DiskBlobs::reopen } else { DiskBlobs::open };
        let blobs = open_blobs(settings, data_dir, |root, options| open(root, options, budget.clone()))?;
        Ok(Self {
            node: queue::Holder(format!("{:016x}", fastrand::u64(..)).into()),
            blobs,
            queue: open_queue(settings, data_dir, &clock)?,
            meta: Arc::new(meta),
            clock,
            outcomes: Outcomes::default(),
            registry: Registry::default(),
            tasks: tasks.clone(),
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
    match Url::of(&storage.url) {
        Some(Url { scheme: "file", rest }) => {
            let disk = open(&in_dir(data_dir, rest), options);
            Ok(Arc::new(disk.map_err(|source| OpenError::failed("storage", source))?))
        }
        _ => Err(OpenError::unknown("storage.url", &storage.url)),
    }
}

fn open_queue(
    settings: &Settings,
    data_dir: &Path,
    clock: &Clock,
) -> Result<Arc<dyn queue::JobQueue>, OpenError> {
    let queue = &settings.queue;
    let rules =
        queue::Settings { capacity: queue.capacity, lease: queue.lease.0, credit_ttl: queue.credit_ttl.0 };
    match Url::of(&queue.url) {
        Some(Url { scheme: "memory", .. }) => Ok(Arc::new(MemoryQueue::new(rules))),
        Some(Url { scheme: "sqlite", rest }) => {
            let opened = SqliteQueue::open(&in_dir(data_dir, rest), rules, clock.clone());
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
    match Url::of(&settings.queue.url) {
        Some(Url { scheme: "sqlite", rest }) => Ok(in_dir(data_dir, rest)),
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
    match Url::of(&metadata.url) {
        Some(Url { scheme: "sqlite", rest }) => {
            open(&in_dir(data_dir, rest), options).map_err(|source| OpenError::failed("metadata", source))
        }
        _ => Err(OpenError::unknown("metadata.url", &metadata.url)),
    }
}

/// A backend's URL, in its two halves.
struct Url<'a> {
    scheme: &'a str,
    rest: &'a str,
}

impl<'a> Url<'a> {
    fn of(text: &'a str) -> Option<Self> {
        text.split_once("://").map(|(scheme, rest)| Self { scheme, rest })
    }
}

/// Whether a backend lies in the data directory, which nobody else has.
pub fn is_in_data_dir(url: &str) -> bool {
    Url::of(url).is_some_and(|url| url.rest.starts_with("./"))
}

/// `/absolute` as it is; `./relative` in the data directory.
fn in_dir(data_dir: &Path, path: &str) -> PathBuf {
    data_dir.join(path.strip_prefix("./").unwrap_or(path))
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
        url: String,
    },
    /// The backend says no.
    #[error("open {part}")]
    Failed {
        /// Storage, queue or metadata.
        part: &'static str,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl OpenError {
    fn unknown(key: &'static str, url: &str) -> Self {
        Self::Unknown { key, url: url.to_owned() }
    }

    fn failed(part: &'static str, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Failed { part, source: Box::new(source) }
    }
}
