//! What a process has of its own, whatever backends it opens.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    config::Settings,
    limits::{Budget, read_memory},
    resilience::{Guard, RetriesOf},
    shutdown::{Stop, Tasks},
    telemetry::{
        metrics::Registry,
        pool::{PoolGauges, PoolState},
    },
};

/// Where a process is, and what it has of its own: made once, however often its backends are opened.
#[derive(Clone, Debug)]
pub struct Site {
    /// Where paths begin that begin with `./`.
    pub data_dir: PathBuf,
    /// The bytes of bodies that it may buffer.
    pub budget: Budget,
    /// Runs tasks, and ends them.
    pub tasks: Tasks,
    /// Where metrics are registered.
    pub registry: Registry,
    /// Calls that were tried again.
    pub retries: RetriesOf,
    pub(super) queue: Guard,
    pub(super) database: Guard,
    pools: PoolGauges,
}

impl Site {
    /// A process whose relative paths begin in `data_dir`, and which may buffer as much as the settings say.
    pub fn new(data_dir: &Path, settings: &Settings) -> Self {
        let registry = Registry::default();
        let retries = RetriesOf::all(&registry);
        let [queue, database] = Guard::both(&registry, &retries);
        Self {
            data_dir: data_dir.to_owned(),
            budget: Budget::new(settings.ingest.limits.buffer.as_usize()),
            tasks: Tasks::new(Stop::new()),
            pools: PoolGauges::new(&registry),
            registry,
            retries,
            queue,
            database,
        }
    }

    /// Shows how much of its memory a process uses that has no gate to look at it.
    pub fn show_memory(&self) {
        let ratio = self.registry.memory_used();
        self.registry.before_render(move || ratio.set(read_memory().ratio()));
    }

    /// Shows how a pool stands, for as long as there is one.
    pub(super) fn watch<P: Send + Sync + 'static>(
        &self,
        name: &'static str,
        pool: &Arc<P>,
        state: impl Fn(&P) -> PoolState + Send + Sync + 'static,
    ) {
        let (gauges, pool) = (self.pools.clone(), Arc::downgrade(pool));
        self.registry.before_render(move || {
            if let Some(pool) = pool.upgrade() {
                gauges.show(name, state(&pool));
            }
        });
    }
}
