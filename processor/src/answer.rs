//! The answers to a lease, each given once: done, again, given back, dead. Every answer consumes its lease.
//!
//! An answer that the queue does not take is let go after a few tries: the lease lapses, the job is delivered again, and the ledger
//! knows what was done.

use std::time::Duration;

use headworks_shared::{
    http::Code,
    meta::DeadLetter,
    model::{State, UploadId},
    outcomes::Outcome,
    queue::Ticket,
    report::Report,
    resilience::Backoff,
};
use tokio::time::sleep;
use tracing::{debug, error, warn};

use crate::{Processor, lease::Lease, metrics::JobOutcome};

/// How often an answer is tried: over about ten seconds, which is longer than the queue's breaker rests.
const TRIES: u32 = 15;

impl Processor {
    /// These jobs are finished.
    pub(crate) async fn done(&self, leases: Vec<Lease>) {
        let tickets: Vec<Ticket> = leases.iter().map(Lease::ticket).collect();
        self.answer(&Answer::Done(&tickets)).await;
        for lease in &leases {
            self.metrics.job_seconds.observe(lease.age().as_secs_f64());
        }
    }

    /// The job did not work out for a reason that may pass: it is tried again later, or dead when it was tried often enough.
    ///
    /// While the store itself is down no job dies of it: a job that ran out of tries then gets another one.
    pub(crate) async fn put_back(&self, lease: Lease, error: String) {
        let tries = lease.job().tries.saturating_add(1);
        if tries >= self.settings.max_tries && self.stack.blobs.health().await.is_ok() {
            return self.bury(lease, error).await;
        }
        debug!(upload.id = %lease.job().id, tries, error, "job put back for another try");
        self.again(lease, Backoff::JOB.wait(tries), true, JobOutcome::Again).await;
    }

    /// These jobs were not tried: others may have them, after `delay`.
    pub(crate) async fn give_back(&self, leases: Vec<Lease>, delay: Duration) {
        for lease in leases {
            self.again(lease, delay, false, JobOutcome::GivenBack).await;
        }
    }

    /// The job comes to a bad end: a person must look at it. That is not the upload's end, so nobody is told and the ledger has no
    /// row; the sweep leaves uploads with a dead letter alone.
    pub(crate) async fn bury(&self, lease: Lease, error: String) {
        let letter = DeadLetter { job: lease.job().clone(), error, at: self.stack.clock.now() };
        match self.stack.meta.bury(&letter).await {
            Ok(()) => {
                error!(upload.id = %letter.job.id, error = letter.error, "job is dead");
                self.metrics.ended(lease.job(), JobOutcome::Dead);
                self.done(vec![lease]).await;
            }
            Err(error) => {
                warn!(upload.id = %letter.job.id, error = %Report(&error), "dead letter not written");
                self.again(lease, Backoff::JOB.wait(1), false, JobOutcome::GivenBack).await;
            }
        }
    }

    /// Tells those who wait for an upload how it ended.
    pub(crate) fn tell(&self, id: UploadId, state: State, reason: Option<&'static str>) {
        self.stack.outcomes.tell(id, &Outcome { state, reason });
    }

    async fn again(&self, lease: Lease, delay: Duration, tried: bool, outcome: JobOutcome) {
        self.answer(&Answer::Again(lease.ticket(), delay, tried)).await;
        self.metrics.ended(lease.job(), outcome);
    }

    async fn answer(&self, answer: &Answer<'_>) {
        let queue = &self.stack.queue;
        for failures in 1..=TRIES {
            let result = match *answer {
                Answer::Done(tickets) => queue.done(tickets).await,
                Answer::Again(ticket, delay, tried) => queue.again(ticket, delay, tried).await,
            };
            match result {
                Ok(()) => return,
                Err(_) if failures < TRIES => {
                    self.stack.retries.queue.again();
                    sleep(Backoff::CALL.wait(failures)).await;
                }
                Err(error) => {
                    warn!(?answer, error = %Report(&error), "queue takes no answer, jobs come again")
                }
            }
        }
    }
}

/// What the queue is told.
#[derive(Debug)]
enum Answer<'a> {
    Done(&'a [Ticket]),
    /// After a delay, and whether it counts as a try.
    Again(Ticket, Duration, bool),
}

/// The reasons of a final failure that the processor finds.
pub(crate) const MISSING: &str = Code::ObjectMissing.as_str();
/// The bytes are not those that were received.
pub(crate) const DAMAGED: &str = Code::ObjectDamaged.as_str();
