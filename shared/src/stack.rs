//! The only file that chooses backends: what a process stands on, made from its settings.

mod error;
mod site;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    clock::Clock,
    config::{
        self, Settings, Url,
        settings::{self, Durability},
    },
    meta::{
        self,
        postgres::{OpenError as PostgresError, Options as PostgresOptions, PostgresMeta},
        sqlite::{Options as SqliteOptions, SqliteMeta},
    },
    model::UploadId,
    outcomes::Outcomes,
    queue::{
        self, JobQueue as _,
        memory::MemoryQueue,
        redis::{OpenError as RedisError, Options as RedisOptions, RedisQueue},
        sqlite::{SqliteQueue, Writing, peek_depth, waiting},
    },
    resilience::{Guard, RetriesOf, Rule},
    shutdown::Tasks,
    storage::{
        self,
        cloud::{CloudBlobs, Options as CloudOptions, ProbeError as CloudError},
        disk::{DiskBlobs, Options as DiskOptions},
    },
    telemetry::metrics::Registry,
};

pub use error::OpenError;
pub use site::Site;

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
    /// Counts calls that are tried again.
    pub retries: RetriesOf,
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
    pub async fn open(settings: &Settings, site: &Site) -> Result<Self, OpenError> {
        let Stores { clock, blobs, meta, registry, tasks } = Stores::open(settings, site).await?;
        let node = new_node();
        let queue = open_queue(settings, site, &clock, &node).await?;
        let (outcomes, retries) = (Outcomes::default(), site.retries.clone());
        Ok(Self { node, clock, blobs, queue, meta, outcomes, registry, retries, tasks })
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
    pub async fn open(settings: &Settings, site: &Site) -> Result<Self, OpenError> {
        let (meta, knows_uploads) = open_meta(settings, site, Access::Write).await?;
        let access = if knows_uploads { Access::Known } else { Access::Write };
        Ok(Self {
            clock: Clock::system(),
            blobs: open_blobs(settings, site, access).await?,
            meta,
            registry: site.registry.clone(),
            tasks: site.tasks.clone(),
        })
    }

    /// Opens the stores to read them, beside the processes that write them.
    ///
    /// # Errors
    /// When one of them cannot be opened: which, and why.
    pub async fn open_to_read(settings: &Settings, site: &Site) -> Result<Self, OpenError> {
        Ok(Self {
            clock: Clock::system(),
            blobs: open_blobs(settings, site, Access::Read).await?,
            meta: open_meta(settings, site, Access::Read).await?.0,
            registry: site.registry.clone(),
            tasks: site.tasks.clone(),
        })
    }
}

/// What a store is opened for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Access {
    /// To be read, beside those who write it.
    Read,
    /// To be written, and made if need be.
    Write,
    /// To be written, and it must be there.
    Known,
}

async fn open_blobs(
    settings: &Settings,
    site: &Site,
    access: Access,
) -> Result<Arc<dyn storage::Blobs>, OpenError> {
    let (url, budget) = (&settings.storage.url, site.budget.clone());
    match url.scheme() {
        "file" => {
            let root = in_dir(&site.data_dir, url);
            let options = disk_options(settings);
            let opened = match access {
                Access::Read => DiskBlobs::open_to_read(&root, budget),
                Access::Write => DiskBlobs::open(&root, options, budget),
                Access::Known => DiskBlobs::reopen(&root, options, budget),
            };
            Ok(Arc::new(opened.map_err(|source| OpenError::failed("storage", source))?))
        }
        "s3" | "gs" | "az" => {
            let options = cloud_options(settings, site);
            let opened = match access {
                Access::Read => CloudBlobs::open_to_read(url.expose(), options, budget).await,
                Access::Write => CloudBlobs::open(url.expose(), options, budget).await,
                Access::Known => CloudBlobs::reopen(url.expose(), options, budget).await,
            };
            let passes = matches!(opened, Err(CloudError::Refused { .. }));
            Ok(Arc::new(opened.map_err(|source| OpenError::failed("storage", source).passing(passes))?))
        }
        _ => Err(OpenError::unknown("storage.url", url)),
    }
}

fn disk_options(settings: &Settings) -> DiskOptions {
    let storage = &settings.storage;
    DiskOptions { fsync: storage.durability == Durability::Fsync, small_body: storage.small_body.as_usize() }
}

fn cloud_options(settings: &Settings, site: &Site) -> CloudOptions {
    let storage = &settings.storage;
    CloudOptions {
        small_body: storage.small_body.as_usize(),
        part_size: storage.part_size.as_usize(),
        single_put_limit: storage.single_put.0,
        streams: settings.ingest.limits.streams,
        retries: site.retries.store.clone(),
        ..CloudOptions::new(config::environment(), site.tasks.clone())
    }
}

async fn open_queue(
    settings: &Settings,
    site: &Site,
    clock: &Clock,
    node: &queue::Holder,
) -> Result<Arc<dyn queue::JobQueue>, OpenError> {
    let queue = &settings.queue;
    let rules = rules(queue);
    match queue.url.scheme() {
        "memory" => Ok(Arc::new(MemoryQueue::new(rules))),
        "sqlite" => {
            // Who does not wait for a disk to keep an upload need not wait for the queue to keep its job.
            let writing = match settings.storage.durability {
                Durability::Fsync => Writing::Through,
                Durability::None => Writing::Behind,
            };
            let opened =
                SqliteQueue::open(&in_dir(&site.data_dir, &queue.url), rules, writing, clock.clone());
            Ok(Arc::new(opened.map_err(|source| OpenError::failed("queue", source))?))
        }
        "redis" | "rediss" => {
            let redis = Arc::new(open_redis(settings, node, site.queue.clone()).await?);
            site.watch("redis", &redis, RedisQueue::pool);
            Ok(redis)
        }
        _ => Err(OpenError::unknown("queue.url", &queue.url)),
    }
}

fn rules(queue: &settings::Queue) -> queue::Settings {
    queue::Settings { capacity: queue.capacity, lease: queue.lease.0, credit_ttl: queue.credit_ttl.0 }
}

async fn open_redis(
    settings: &Settings,
    node: &queue::Holder,
    guard: Guard,
) -> Result<RedisQueue, OpenError> {
    let queue = &settings.queue;
    let options = RedisOptions {
        name: queue.name.clone(),
        pool: queue.pool,
        command_timeout: queue.command_timeout.0,
        consumer: node.0.to_string(),
        guard,
    };
    let opened = RedisQueue::open(queue.url.expose(), options, rules(queue)).await;
    let passes = matches!(opened, Err(RedisError::Unreachable(_)));
    opened.map_err(|source| OpenError::failed("queue", source).passing(passes))
}

/// Looks into the queue from outside, beside the processes that work on it.
///
/// # Errors
/// When it cannot be looked into.
pub async fn peek(settings: &Settings, data_dir: &Path) -> Result<Peek, OpenError> {
    let url = &settings.queue.url;
    match url.scheme() {
        "sqlite" => {
            let file = in_dir(data_dir, url);
            let depth = peek_depth(&file, &Clock::system());
            let ids = waiting(&file);
            let both = depth.and_then(|depth| Ok(Peek { depth, waiting: ids? }));
            both.map_err(|source| OpenError::failed("queue", source))
        }
        "redis" | "rediss" => {
            let queue = open_redis(settings, &new_node(), Guard::silent("queue", Rule::QUEUE)).await?;
            let both = async {
                Ok::<_, queue::Error>(Peek { depth: queue.depth().await?, waiting: queue.waiting().await? })
            };
            both.await.map_err(|source| OpenError::failed("queue", source))
        }
        _ => Err(OpenError::unknown("queue.url", url)),
    }
}

/// What is on the queue.
#[derive(Clone, Debug)]
pub struct Peek {
    /// How full it is.
    pub depth: queue::Depth,
    /// The uploads whose jobs are on it.
    pub waiting: Vec<UploadId>,
}

async fn open_meta(
    settings: &Settings,
    site: &Site,
    access: Access,
) -> Result<(Arc<dyn meta::Store>, bool), OpenError> {
    let metadata = &settings.metadata;
    match metadata.url.scheme() {
        "sqlite" => {
            let path = in_dir(&site.data_dir, &metadata.url);
            let options = SqliteOptions { pool: metadata.pool, acquire_timeout: metadata.acquire_timeout.0 };
            let opened = match access {
                Access::Read => SqliteMeta::open_to_read(&path, options),
                Access::Write | Access::Known => SqliteMeta::open(&path, options),
            };
            let meta = opened.map_err(|source| OpenError::failed("metadata", source))?;
            let knows = meta.knows_uploads();
            Ok((Arc::new(meta), knows))
        }
        "postgres" | "postgresql" => {
            let (url, options) = (metadata.url.expose(), postgres_options(metadata, site));
            let opened = match access {
                Access::Read => PostgresMeta::open_to_read(url, &options).await,
                Access::Write | Access::Known => PostgresMeta::open(url, &options).await,
            };
            let passes = matches!(opened, Err(PostgresError::Unreachable(_)));
            let meta = opened.map_err(|source| OpenError::failed("metadata", source).passing(passes))?;
            let (knows, meta) = (meta.knows_uploads(), Arc::new(meta));
            site.watch("database", &meta, PostgresMeta::pool);
            Ok((meta, knows))
        }
        _ => Err(OpenError::unknown("metadata.url", &metadata.url)),
    }
}

/// Brings the tables of the metadata up to date.
///
/// # Errors
/// When it cannot be reached, or was made by a newer Headworks.
pub async fn migrate(settings: &Settings, site: &Site) -> Result<(), OpenError> {
    open_meta(settings, site, Access::Write).await.map(drop)
}

fn postgres_options(metadata: &settings::Metadata, site: &Site) -> PostgresOptions {
    let replica = &metadata.replica_url;
    PostgresOptions {
        pool: metadata.pool,
        acquire_timeout: metadata.acquire_timeout.0,
        statement_timeout: metadata.statement_timeout.0,
        replica: (!replica.is_empty()).then(|| replica.expose().to_owned()),
        migrate: true,
        guard: site.database.clone(),
    }
}

fn new_node() -> queue::Holder {
    queue::Holder(format!("{:016x}", fastrand::u64(..)).into())
}

/// Whether everything lies in the data directory or in memory, so that one process has it all.
pub fn is_embedded(settings: &Settings) -> bool {
    let schemes = [&settings.queue.url, &settings.metadata.url].map(Url::scheme);
    schemes.iter().any(|scheme| matches!(*scheme, "sqlite" | "memory"))
}

/// Whether a backend lies in the data directory, which nobody else has.
pub fn is_in_data_dir(url: &Url) -> bool {
    url.rest().starts_with("./")
}

/// `/absolute` as it is; `./relative` in the data directory.
fn in_dir(data_dir: &Path, url: &Url) -> PathBuf {
    data_dir.join(url.rest().strip_prefix("./").unwrap_or(url.rest()))
}
