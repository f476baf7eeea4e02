//! The only file that chooses backends: what a process stands on, made from its settings.

use std::sync::Arc;

use crate::{
    clock::Clock, meta, outcomes::Outcomes, queue, shutdown::Tasks, storage, telemetry::metrics::Registry,
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
