//! Writes batches, each in one transaction, and answers the leases after the commit.
//!
//! A crash at any point repeats a step that was done: records the ledger knows change nothing, a lease that was not answered comes
//! again, bytes that were not removed are found by the sweep. When the database cannot be reached the batch is kept and tried again,
//! its leases alive, for [`PATIENCE`]. When it refuses a record, the batch is halved until that one stands alone.

use std::{sync::Arc, time::Duration};

use headworks_shared::{
    fault::{Point, point},
    meta::{Error, Ledger, Record, Verdict},
    model::{Scope, State, UploadId},
    report::Report,
    resilience::Backoff,
    shutdown::{Stop, Tasks},
};
use tokio::{
    sync::{Semaphore, mpsc},
    time::{Instant, sleep},
};
use tracing::{debug, warn};

use crate::{
    Processor,
    batch::{Batcher, Limits},
    lease::Lease,
    metrics::JobOutcome,
    purge,
    stage::Checked,
};

/// Batches at once: while one is in its transaction, the other answers its leases and the next is gathered.
const LANES: usize = 2;

/// The most text in one transaction, whatever its rows: keeps the writer's turns short.
const BATCH_BYTES: usize = 1 << 20;

/// How long a batch waits in memory for the database before its jobs go back on the queue.
const PATIENCE: Duration = Duration::from_secs(30);

/// Gathers and writes until all senders are gone: a stop ends the claims, and they end this.
pub(crate) async fn run(processor: Arc<Processor>, tasks: Tasks, incoming: mpsc::Receiver<Vec<Checked>>) {
    let batch = &processor.settings.batch;
    let limits = Limits { rows: batch.rows, bytes: BATCH_BYTES, wait: batch.wait.0 };
    let mut batcher = Batcher::new(incoming, limits, weigh);
    let lanes = Arc::new(Semaphore::new(LANES));
    while let Ok(lane) = Arc::clone(&lanes).acquire_owned().await {
        let Some(batch) = batcher.next().await else { break };
        let processor = Arc::clone(&processor);
        tasks.spawn("batch", |stop| async move {
            persist(&processor, batch, &stop).await;
            drop(lane);
        });
    }
}

/// The parts of a record without a fixed size.
fn weigh(checked: &Checked) -> usize {
    let envelope = &checked.record.envelope;
    size_of::<Record>() + envelope.path.as_str().len() + envelope.content_type.as_ref().map_or(0, String::len)
}

/// One batch, from its transaction to its last answer.
async fn persist(processor: &Processor, batch: Vec<Checked>, stop: &Stop) {
    let (records, leases): (Vec<_>, Vec<_>) =
        batch.into_iter().map(|checked| (checked.record, checked.lease)).unzip();
    point(Point::BeforeCommit);
    let ends = write(processor, &records, stop).await;
    point(Point::AfterCommit);
    let mut ended = Ended::default();
    for ((record, lease), end) in records.into_iter().zip(leases).zip(ends) {
        match end {
            End::Written(verdict) => ended.take(processor, record, lease, verdict),
            End::Refused(error) => processor.bury(lease, error).await,
            End::Unreached => ended.unreached.push(lease),
        }
    }
    ended.answer(processor).await;
}

/// What became of a record.
#[derive(Debug)]
enum End {
    /// The transaction was committed.
    Written(Verdict),
    /// This record cannot be stored, for this reason.
    Refused(String),
    /// The database could not be reached in time.
    Unreached,
}

/// Writes the records and says what became of each, in their order.
async fn write(processor: &Processor, records: &[Record], stop: &Stop) -> Vec<End> {
    let until = Instant::now() + PATIENCE;
    let mut ends = Vec::with_capacity(records.len());
    let mut parts = vec![records];
    while let Some(part) = parts.pop() {
        match write_part(processor, part, until, stop).await {
            Ok(verdicts) => ends.extend(verdicts.into_iter().map(End::Written)),
            Err(Error::Rejected(_)) if part.len() > 1 => {
                let (first, second) = part.split_at(part.len() / 2);
                parts.extend([second, first]);
            }
            Err(error @ Error::Rejected(_)) => ends.push(End::Refused(Report(&error).to_string())),
            Err(error @ Error::Unavailable(_)) => {
                warn!(rows = part.len(), error = %Report(&error), "batch not written, its jobs go back");
                ends.extend(part.iter().map(|_| End::Unreached));
            }
        }
    }
    ends
}

/// One transaction, tried until the database is reached, the patience is over, or (once more) the stop has come.
async fn write_part(
    processor: &Processor,
    part: &[Record],
    until: Instant,
    stop: &Stop,
) -> Result<Vec<Verdict>, Error> {
    let ledger: &dyn Ledger = &*processor.stack.meta;
    let mut failures = 0;
    loop {
        let last = stop.is_cancelled() || Instant::now() >= until;
        let begun = Instant::now();
        let result = ledger.persist(part, processor.stack.clock.now()).await;
        processor.metrics.persist_seconds.observe(begun.elapsed().as_secs_f64());
        match result {
            Err(Error::Unavailable(error)) if !last => {
                failures += 1;
                debug!(failures, error = %error, "batch not written yet");
                processor.stack.retries.database.again();
                stop.run_until_cancelled(sleep(Backoff::CALL.wait(failures))).await;
            }
            result => {
                if result.is_ok() {
                    processor
                        .metrics
                        .batch_rows
                        .observe(f64::from(u32::try_from(part.len()).unwrap_or(u32::MAX)));
                }
                return result;
            }
        }
    }
}

/// What is left to do after the commit.
#[derive(Debug, Default)]
struct Ended {
    done: Vec<Lease>,
    unreached: Vec<Lease>,
    worthless: Vec<(Scope, UploadId)>,
    told: bool,
}

impl Ended {
    fn take(&mut self, processor: &Processor, record: Record, lease: Lease, verdict: Verdict) {
        let outcome = match verdict {
            Verdict::Stored { .. } => JobOutcome::Stored,
            Verdict::Failed { .. } => JobOutcome::Failed,
            Verdict::Known(_) => JobOutcome::Known,
        };
        processor.metrics.ended(lease.job(), outcome);
        self.conclude(processor, record, verdict);
        self.done.push(lease);
    }

    /// Tells those who wait, and notes whose bytes are worth nothing any more.
    fn conclude(&mut self, processor: &Processor, record: Record, verdict: Verdict) {
        let (state, reason) = match verdict {
            Verdict::Stored { .. } => (State::Stored, None),
            Verdict::Failed { reason } => (State::Failed, Some(reason)),
            Verdict::Known(state) => (state, None),
        };
        processor.tell(record.id, state, reason);
        self.told |= !matches!(verdict, Verdict::Known(_));
        // What the store said of an object may be wrong: the bytes of an upload that failed by its word are left alone.
        let worthless = match verdict {
            Verdict::Failed { .. } => record.failure.is_none(),
            Verdict::Known(state) => state == State::Deleted,
            Verdict::Stored { .. } => false,
        };
        if worthless {
            self.worthless.push((record.envelope.scope, record.id));
        }
    }

    async fn answer(self, processor: &Processor) {
        if self.told {
            processor.persisted.notify_one();
        }
        if !self.done.is_empty() {
            processor.done(self.done).await;
            point(Point::AfterDone);
        }
        // An outage of the database says nothing about the jobs, so it is no try.
        processor.give_back(self.unreached, Backoff::JOB.wait(3)).await;
        if !self.worthless.is_empty()
            && let Err(error) = purge::remove(&processor.stack, self.worthless).await
        {
            warn!(error = %Report(&error), "ledger not told of removed bytes, the sweep tries again");
        }
    }
}
