//! Admission: whether an upload may begin, decided in one place and one order, cheapest first, before a byte of its body.
//!
//! Gate, then a stream permit, then a credit, each waited for no longer than `hold`; who waits longer is refused, with the reason
//! and the time to come back. What was acquired travels with the upload and gives itself back.

mod credits;
mod line;
mod refusal;
mod streams;

use std::sync::Arc;

use headworks_shared::{
    config::Settings,
    limits::{Budget, Gate, Leased},
    model::Priority,
    stack::Stack,
};
use prometheus::IntGauge;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

use self::credits::{Credits, NoCredit};
use self::line::Line;
use self::streams::{Bounds, Streams, Turn};
pub use self::{credits::Credit, refusal::Refusal};
use crate::metrics::Metrics;

/// What a form's parser holds at most, besides what storage buffers of the file it is at.
pub(crate) const FORM_BYTES: usize = 192 << 10;

/// Decides which uploads may begin.
#[derive(Debug)]
pub(crate) struct Admission {
    pub(crate) gate: Gate,
    pub(crate) credits: Arc<Credits>,
    pub(crate) streams: Arc<Streams>,
    pub(crate) line: Line,
    forms: Arc<Semaphore>,
    hold: std::time::Duration,
    in_flight: IntGauge,
}

/// An upload's place: a stream permit, until the upload is answered.
#[derive(Debug)]
pub struct Permit {
    _turn: Turn,
    in_flight: IntGauge,
}

/// A form's place, and its parser's share of the byte budget.
#[derive(Debug)]
pub(crate) struct Form {
    _turn: OwnedSemaphorePermit,
    _buffered: Leased,
}

/// The part of the budget that forms hold at most, as one in so many: storage leases for their files while they hold theirs, so the
/// rest must be enough for it (`shared::storage::cloud` takes up to three quarters in turns), and for all other uploads.
const SHARE: usize = 8;

/// How many forms hold no more than their share.
const fn most_forms(budget_bytes: usize) -> usize {
    let forms = budget_bytes / SHARE / FORM_BYTES;
    if forms == 0 { 1 } else { forms }
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
            forms: Arc::new(Semaphore::new(most_forms(settings.ingest.limits.buffer.as_usize()))),
            streams: Streams::new(Bounds::from(&settings.ingest.limits)),
            line: Line::new(settings.ingest.limits.streams),
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
        let turn = self.streams.turn();
        let Ok(turn) = timeout_at(Instant::now() + self.hold, turn).await else {
            return Err(Refusal::Streams);
        };
        // It may have shut while this one waited.
        self.open()?;
        self.in_flight.inc();
        Ok(Permit { _turn: turn, in_flight: self.in_flight.clone() })
    }

    /// The right to parse a form, for a share of this budget; in a small one a single form has all of that.
    pub(crate) async fn form(&self, budget: &Budget) -> Result<Form, Refusal> {
        let share = FORM_BYTES.min(budget.limit_bytes() / SHARE);
        let place = async {
            let turn = Arc::clone(&self.forms).acquire_owned().await.map_err(|_| Refusal::Streams)?;
            Ok(Form { _turn: turn, _buffered: budget.lease(share).await })
        };
        timeout_at(Instant::now() + self.hold, place).await.unwrap_or(Err(Refusal::Streams))
    }

    /// The right to put one job on the queue.
    pub(crate) async fn credit(&self, priority: Priority) -> Result<Credit, Refusal> {
        let credit = self.credits.take(priority, self.hold).await.map_err(|no| match no {
            NoCredit::Full => Refusal::Queue { drain: self.credits.drain() },
            NoCredit::Unreachable => Refusal::Unreachable,
        })?;
        self.line.taken();
        Ok(credit)
    }

    fn open(&self) -> Result<(), Refusal> {
        self.gate.shut().map_or(Ok(()), |reason| Err(Refusal::Shut(reason)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_hold_at_most_an_eighth_of_the_budget_and_one_may_always_come() {
        assert_eq!((most_forms(0), most_forms(FORM_BYTES), most_forms(16 * FORM_BYTES)), (1, 1, 2));
        assert!(most_forms(64 << 20) * FORM_BYTES <= 8 << 20);
    }
}
