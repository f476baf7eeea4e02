//! Counts the calls to dependencies that were tried again.

use prometheus::IntCounter;

use crate::telemetry::metrics::Registry;

/// The calls to one dependency that were tried again; by default nobody is told.
#[derive(Clone, Debug, Default)]
pub struct Retries(Option<IntCounter>);

impl Retries {
    /// One more.
    pub fn again(&self) {
        if let Some(counter) = &self.0 {
            counter.inc();
        }
    }
}

/// Those of all dependencies.
#[derive(Clone, Debug, Default)]
pub struct RetriesOf {
    /// The queue's server.
    pub queue: Retries,
    /// The metadata's.
    pub database: Retries,
    /// The objects'.
    pub store: Retries,
}

impl RetriesOf {
    /// Counts in `registry`, in which nobody else does.
    pub fn all(registry: &Registry) -> Self {
        let counters = registry.counters(
            "headworks_retries_total",
            "Calls to a dependency that were tried again.",
            &["target"],
        );
        let of = |target| Retries(Some(counters.with_label_values(&[target])));
        Self { queue: of("queue"), database: of("database"), store: of("store") }
    }
}
