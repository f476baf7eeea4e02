//! Headworks processor: drains the queue, writes metadata in batches, tells receivers, and finds again what was lost.
//!
//! The way of a job, top to bottom: `worker` claims it, `stage::verify` compares the object with the job, `batch` gathers it with
//! others, `persist` writes them in one transaction and answers the leases, `notify` relays and delivers the events. `sweep` goes
//! round beside it and adopts every object that has no ledger row.
//!
//! Every step may be cut off and repeated: the ledger knows an upload that was persisted before, an event's id never changes, and a
//! lease that nobody answers is delivered again.

mod answer;
mod batch;
mod lease;
mod metrics;
mod notify;
mod persist;
mod purge;
mod stage;
mod sweep;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod worker;

use std::{fmt, sync::Arc, time::Duration};

use headworks_shared::{
    config::{Settings, settings},
    shutdown::Tasks,
    stack::Stack,
};
use tokio::sync::{Notify, mpsc};

pub use notify::{EndpointError, StartError};
pub use sweep::{DEEP, Reach, SweepError, SweepReport, sweep_once};

use crate::{lease::Leases, metrics::Metrics};

/// How many groups of checked jobs may wait for a batch. When it is full, groups wait with their permits, and fewer are claimed.
const CHECKED_GROUPS: usize = 4;

/// Starts the processor's tasks: claims, heartbeat, batches, relay, deliveries, sweep, gauges.
///
/// `tasks` belong to the processor alone. In the embedded system ingest is stopped and drained first, the processor after it, so that
/// what was taken in last still gets its metadata. When they are stopped, no more jobs are claimed; what was claimed and not begun is
/// given back without counting as a try; batches and tries that were begun are finished and their leases answered; the heartbeat goes
/// on until the last one is. `tasks.drain(grace)` waits for all that; leases still open after it lapse and are delivered again.
///
/// # Errors
/// When a webhook of the settings cannot be used: all mistakes at once.
///
/// # Panics
/// When a processor was started on the same registry before: its metrics would be there twice.
pub fn start(stack: &Stack, settings: &Settings, tasks: &Tasks) -> Result<(), StartError> {
    let receivers = notify::Receivers::new(&settings.notify)?;
    let processor = Processor::new(stack, settings);
    let (checked, incoming) = mpsc::channel(CHECKED_GROUPS);

    let shared = || Arc::clone(&processor);
    tasks.spawn("claims", |stop| worker::run(shared(), tasks.clone(), checked, stop));
    tasks.spawn("heartbeat", |stop| lease::heartbeat(shared(), stop));
    tasks.spawn("batches", |_| persist::run(shared(), tasks.clone(), incoming));
    tasks.spawn("sweep", |stop| sweep::run(shared(), stop));
    tasks.spawn("gauges", |stop| metrics::run(shared(), stop));
    notify::start(&processor, receivers, tasks);
    Ok(())
}

/// Looks at the webhooks of the settings, as [`start`] does.
///
/// # Errors
/// When one cannot be used: all mistakes at once.
pub fn check(settings: &Settings) -> Result<(), StartError> {
    notify::Receivers::new(&settings.notify).map(drop)
}

/// What the processor's tasks share.
pub(crate) struct Processor {
    stack: Stack,
    settings: settings::Processor,
    /// `queue.lease`.
    lease: Duration,
    metrics: Metrics,
    leases: Arc<Leases>,
    /// Told after each transaction that may have made events.
    persisted: Notify,
}

impl Processor {
    fn new(stack: &Stack, settings: &Settings) -> Arc<Self> {
        Arc::new(Self {
            metrics: Metrics::new(&stack.registry),
            leases: Leases::new(settings.processor.prefetch),
            settings: settings.processor.clone(),
            lease: settings.queue.lease.0,
            persisted: Notify::new(),
            stack: stack.clone(),
        })
    }
}

impl fmt::Debug for Processor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Processor").field("leases", &self.leases).finish_non_exhaustive()
    }
}
