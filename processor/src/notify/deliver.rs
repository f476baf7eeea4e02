//! Delivers to one receiver: takes what is due, tries a few at once, writes down what came of it.
//!
//! A slow receiver holds up nobody but itself. After a stop no try is begun; those under way end, within `notify.timeout`.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream};
use headworks_shared::{
    fault::{Point, point},
    meta::{self, Attempt, Delivery, Next},
    report::Report,
    resilience::Backoff,
    shutdown::Stop,
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};
use tracing::{debug, warn};

use super::{
    POLL,
    client::Client,
    endpoint::Endpoint,
    schedule::{self, Answer, Decision},
};
use crate::{Processor, metrics::DeliveryOutcome};

/// How many rounds of tries are taken at once: enough that taking costs little beside trying.
const ROUNDS: u32 = 4;

/// More than it takes to write down what came of the tries.
const MARGIN: Duration = Duration::from_secs(30);

/// The numbers of `[notify]`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Limits {
    /// For one try.
    pub(super) timeout: Duration,
    /// Tries at once.
    pub(super) concurrency: usize,
    /// Tries of one delivery.
    pub(super) max_tries: u32,
}

/// Delivers to one receiver.
#[derive(Debug)]
pub(super) struct Deliverer {
    /// What the tasks share.
    pub(super) processor: Arc<Processor>,
    /// The receiver.
    pub(super) endpoint: Endpoint,
    /// Sends.
    pub(super) client: Client,
    /// How much, how long, how often.
    pub(super) limits: Limits,
    /// Told when there are new deliveries.
    pub(super) wake: Arc<Notify>,
}

/// Delivers until the stop.
pub(super) async fn run(deliverer: Deliverer, stop: Stop) {
    if stop.run_until_cancelled(deliverer.enable()).await.is_none() {
        return;
    }
    let pause = async || {
        tokio::select! {
            () = deliverer.wake.notified() => {}
            () = sleep(POLL) => {}
        }
    };
    while !stop.is_cancelled() {
        match deliverer.round(&stop).await {
            Ok(0) => {
                stop.run_until_cancelled(pause()).await;
            }
            Ok(_) => {}
            Err(error) => {
                let receiver = deliverer.endpoint.host();
                warn!(receiver, error = %Report(&error), "deliveries neither read nor written, they wait");
                stop.run_until_cancelled(sleep(POLL)).await;
            }
        }
    }
}

impl Deliverer {
    /// Takes what is due, and tries it; says how many that were.
    pub(super) async fn round(&self, stop: &Stop) -> Result<usize, meta::Error> {
        let Limits { timeout, concurrency, .. } = self.limits;
        let now = self.processor.stack.clock.now();
        let rounds = usize::try_from(ROUNDS).unwrap_or(1);
        let lease = timeout * (ROUNDS + 1) + MARGIN;
        let due = self.processor.stack.meta.due(&self.endpoint.url, concurrency * rounds, now, lease).await?;
        let taken = due.len();
        let mut tries = stream::iter(due)
            .map(
                async |delivery| {
                    if stop.is_cancelled() { self.leave(&delivery) } else { self.try_once(&delivery).await }
                },
            )
            .buffer_unordered(concurrency)
            .ready_chunks(concurrency);
        while let Some(settled) = tries.next().await {
            let attempts: Vec<Attempt> = settled.into_iter().flatten().collect();
            if !attempts.is_empty() {
                point(Point::AfterDelivery);
                self.settle(&attempts).await?;
            }
        }
        Ok(taken)
    }

    /// Writes down what came of tries, as long as their leases stand: what is not written down is told again.
    async fn settle(&self, attempts: &[Attempt]) -> Result<(), meta::Error> {
        let until = Instant::now() + MARGIN / 2;
        let mut failures = 0;
        loop {
            match self.processor.stack.meta.settle(attempts).await {
                Err(error) if Instant::now() < until => {
                    failures += 1;
                    debug!(failures, error = %Report(&error), "tries not written down yet");
                    self.processor.stack.retries.database.again();
                    sleep(Backoff::CALL.wait(failures)).await;
                }
                outcome => return outcome,
            }
        }
    }

    /// Not begun because of the stop: the delivery is due again when its lease is over.
    fn leave(&self, delivery: &Delivery) -> Option<Attempt> {
        debug!(event.id = %delivery.event, receiver = self.endpoint.host(), "delivery left for later");
        None
    }

    async fn try_once(&self, delivery: &Delivery) -> Option<Attempt> {
        let clock = &self.processor.stack.clock;
        let (at, begun) = (clock.now(), Instant::now());
        let (answer, error) = self.client.post(&self.endpoint, delivery, at, self.limits.timeout).await;
        let decision = schedule::decide(answer, delivery.tries, self.limits.max_tries, fastrand::f64());
        let next = match decision {
            Decision::Delivered => Next::Delivered,
            Decision::Retry(wait) | Decision::Disable(wait) => Next::Retry(clock.now().after(wait)),
            Decision::GiveUp => Next::GivenUp,
        };
        self.note(delivery, decision, error.as_deref()).await;
        let status = match answer {
            Answer::Status { code, .. } => Some(code),
            Answer::None => None,
        };
        let (event, receiver, took) = (delivery.event, delivery.receiver.clone(), begun.elapsed());
        Some(Attempt { event, receiver, at, status, error, took, next })
    }

    /// Counts and logs what came of a try, and disables a receiver that asks for it.
    async fn note(&self, delivery: &Delivery, decision: Decision, error: Option<&str>) {
        let receiver = self.endpoint.host();
        let outcome = match decision {
            Decision::Delivered => DeliveryOutcome::Delivered,
            Decision::Retry(_) => DeliveryOutcome::Retried,
            Decision::GiveUp => {
                warn!(event.id = %delivery.event, receiver, error, "delivery given up");
                DeliveryOutcome::GivenUp
            }
            Decision::Disable(_) => {
                self.disable().await;
                DeliveryOutcome::Gone
            }
        };
        debug!(event.id = %delivery.event, receiver, tries = delivery.tries, error, "delivery tried");
        self.processor.metrics.delivery(outcome);
    }

    /// A receiver that answered 410 gets another chance with each start: whoever mended it, or its address, has restarted us.
    pub(super) async fn enable(&self) {
        let (stack, receiver) = (&self.processor.stack, self.endpoint.host());
        while let Err(error) = stack.meta.set_disabled(&self.endpoint.url, false, stack.clock.now()).await {
            warn!(receiver, error = %Report(&error), "receiver not enabled yet");
            sleep(POLL).await;
        }
    }

    async fn disable(&self) {
        let (stack, receiver) = (&self.processor.stack, self.endpoint.host());
        match stack.meta.set_disabled(&self.endpoint.url, true, stack.clock.now()).await {
            Ok(()) => warn!(receiver, "receiver answered 410 and is disabled until the next start"),
            Err(error) => {
                warn!(receiver, error = %Report(&error), "receiver answered 410, but is not disabled")
            }
        }
    }
}
