//! Admission: whether an upload may begin, decided in one place and one order, cheapest first, before a byte of its body.
//!
//! Gate, then a stream permit, then a credit, each waited for no longer than `hold`; who waits longer is refused, with the reason
//! and the time to come back. What was acquired travels with the upload and gives itself back.

mod credits;
mod refusal;

use std::sync::Arc;

use headworks_shared::{config::Settings, limits::Gate, model::Priority, stack::Stack};
use prometheus::IntGauge;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

use self::credits::{Credits, NoCredit};
pub use self::{credits::Credit, refusal::Refusal};
use crate::metrics::Metrics;

/// Decides which uploads may begin.
#[derive(Debug)]
pub(crate) struct Admission {
    pub(crate) gate: Gate,
    pub(crate) credits: Arc<Credits>,
    streams: Arc<Semaphore>,
    hold: std::time::Duration,
    in_flight: IntGauge,
}

/// An upload's place: a stream permit, until the upload is answered.
#[derive(Debug)]
pub struct Permit {
    _stream: OwnedSemaphorePermit,
    in_flight: IntGauge,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.in_flight.dec();
    }
}

impl Admission {
    pub(crate) fn new(stack: &Stack, settings: &Settings, gate: Gate, metrics: &Metrics) -> Self {
        Self {
            gate,
            credits: Arc::new(Credits::new(stack, &settings.queue)),
            streams: Arc::new(Semaphore::new(settings.ingest.limits.streams.min(Semaphore::MAX_PERMITS))),
            hold: settings.ingest.limits.hold.0,
            in_flight: metrics.in_flight.clone(),
        }
    }

    /// Waits for its turn, but no longer than `hold`.
    pub(crate) async fn admit(&self, priority: Priority) -> Result<(Permit, Credit), Refusal> {
        let permit = self.permit().await?;
        Ok((permit, self.credit(priority).await?))
    }

    /// The right to stream.
    pub(crate) async fn permit(&self) -> Result<Permit, Refusal> {
        self.open()?;
        let turn = Arc::clone(&self.streams).acquire_owned();
        let Ok(Ok(stream)) = timeout_at(Instant::now() + self.hold, turn).await else {
            return Err(Refusal::Streams);
        };
        // It may have shut while this one waited.
        self.open()?;
        self.in_flight.inc();
        Ok(Permit { _stream: stream, in_flight: self.in_flight.clone() })
    }

    /// The right to put one job on the queue.
    pub(crate) async fn credit(&self, priority: Priority) -> Result<Credit, Refusal> {
        self.credits.take(priority, self.hold).await.map_err(|no| match no {
            NoCredit::Full => Refusal::Queue { drain: self.credits.drain() },
            NoCredit::Unreachable => Refusal::Unreachable,
        })
    }

    fn open(&self) -> Result<(), Refusal> {
        self.gate.shut().map_or(Ok(()), |reason| Err(Refusal::Shut(reason)))
    }
}
