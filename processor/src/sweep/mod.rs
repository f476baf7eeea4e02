//! Goes round and finds what was lost: an object is its own receipt, so every object without a ledger row gets its job again.
//!
//! The recent round looks at the last ten minutes and is cheap. The deep round looks back from where the last complete one began, by as
//! much as may lie between an upload's id and its object: the validity of an idempotency key (12 h) and the longest upload (12 h),
//! with two hours to spare. So nothing escapes it, however seldom it goes round and however long nobody did. An error means "keep",
//! never "there is nothing".

mod adopt;
#[cfg(test)]
mod tests;
mod unfinished;

use std::{collections::HashSet, sync::Arc, time::Duration};

use headworks_shared::{
    config::{Settings, settings},
    meta::{self, Lead},
    model::{Priority, Timestamp, UploadId},
    queue,
    report::Report,
    shutdown::Stop,
    stack::Stack,
    storage,
};
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use crate::{Processor, purge};

/// How far the recent round looks back.
const RECENT: Duration = Duration::from_secs(10 * 60);
/// How far the deep round looks back at least: an upload that began before may be found by none.
pub const DEEP: Duration = Duration::from_secs(26 * 3600);
/// The longest time until the first round.
const FIRST: Duration = Duration::from_secs(60);
/// How many uploads without worth are looked up at once.
const PAGE: usize = 1000;

/// How far a sweep looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
    /// The last 10 minutes: objects to adopt, bytes to remove.
    Recent,
    /// Everything since 26 hours before the last complete deep round, and everything that is left behind anywhere.
    Deep,
}

/// What a sweep found.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct SweepReport {
    /// Objects that were looked up in the ledger.
    pub looked_up: u64,
    /// Objects without a ledger row whose job was put on the queue (again).
    pub adopted: u64,
    /// Failed or deleted uploads whose bytes were removed.
    pub removed: u64,
    /// Objects that say nothing about themselves; they are left alone.
    pub strangers: u64,
    /// Objects that could not be looked at; the next sweep tries again.
    pub unread: u64,
    /// Unfinished puts that were cleared away.
    pub unfinished: u64,
    /// Markers of idempotency keys that were cleared away.
    pub markers: u64,
    /// Rows that the metadata store forgot.
    pub pruned: u64,
    /// The queue was full, so some objects wait for the next sweep.
    pub cut_short: bool,
}

/// Sweeps once. May be cut off and repeated at any point: a job on the queue is not doubled, and removing twice is removing once.
///
/// # Errors
/// When storage, ledger or queue cannot be reached; what was done until then stays done.
pub async fn sweep_once(stack: &Stack, settings: &Settings, reach: Reach) -> Result<SweepReport, SweepError> {
    Sweeper::new(stack, &settings.processor.sweep).sweep(reach).await
}

/// Sweeps while it leads: deeply at first and then by the clock, until the stop. Of many processors one leads. The work that waits at
/// the start goes first.
pub(crate) async fn run(processor: Arc<Processor>, stop: Stop) {
    let settings = &processor.settings.sweep;
    let mut sweeper = Sweeper::new(&processor.stack, settings);
    let (mut lead, mut deep_at) = (None, Instant::now());
    let mut pause = settings.every.0.min(FIRST).mul_f64(fastrand::f64());
    while stop.run_until_cancelled(sleep(pause)).await.is_some() {
        let round = async {
            if keep_lead(&processor, &mut lead).await? {
                deep_at = Instant::now();
            }
            if lead.is_some() { turn(&processor, &mut sweeper, &mut deep_at).await } else { Ok(()) }
        };
        match stop.run_until_cancelled(round).await {
            None => return,
            Some(Ok(())) => {}
            Some(Err(error)) => {
                warn!(error = %Report(&error), "sweep broken off, it begins again");
                // What the recent round did not see while it failed may be too old for it when it succeeds.
                deep_at = deep_at.min(Instant::now() + RECENT / 2);
            }
        }
        pause = settings.every.0;
    }
}

/// Makes sure of the lead, if it can be had; says whether it is a new one.
async fn keep_lead(processor: &Processor, lead: &mut Option<Box<dyn Lead>>) -> Result<bool, SweepError> {
    if let Some(ours) = lead.as_deref()
        && ours.stands().await
    {
        return Ok(false);
    }
    // The old one is given back before another is asked for.
    *lead = None;
    *lead = processor.stack.meta.lead("sweep").await?;
    Ok(lead.is_some())
}

/// One round.
async fn turn(
    processor: &Processor,
    sweeper: &mut Sweeper<'_>,
    deep_at: &mut Instant,
) -> Result<(), SweepError> {
    let due = Instant::now() >= *deep_at;
    let reach = if due || sweeper.queue_was_lost().await? { Reach::Deep } else { Reach::Recent };
    let report = sweeper.sweep(reach).await?;
    processor.metrics.swept(&report, processor.stack.clock.now());
    if reach == Reach::Deep {
        // A deep round that was cut short is repeated at the next turn, when the queue may have room.
        let rest = if report.cut_short { Duration::ZERO } else { sweeper.settings.deep_every.0 };
        *deep_at = Instant::now() + rest;
    }
    tell(reach, &report);
    Ok(())
}

/// A sweep that found nothing says nothing.
fn tell(reach: Reach, report: &SweepReport) {
    let SweepReport { adopted, removed, unfinished, markers, pruned, .. } = *report;
    if adopted + removed + unfinished > 0 {
        info!(?reach, adopted, removed, unfinished, markers, pruned, "swept");
    }
    if report.cut_short {
        warn!(?reach, adopted, "queue is full, the sweep goes on next time");
    }
}

/// Sweeps, and remembers what it has told already.
#[derive(Debug)]
struct Sweeper<'a> {
    stack: &'a Stack,
    settings: &'a settings::Sweep,
    strangers: HashSet<UploadId>,
    /// The most urgent priority for which the queue has no room in this round.
    full: Option<Priority>,
}

impl<'a> Sweeper<'a> {
    fn new(stack: &'a Stack, settings: &'a settings::Sweep) -> Self {
        Self { stack, settings, strangers: HashSet::new(), full: None }
    }

    async fn sweep(&mut self, reach: Reach) -> Result<SweepReport, SweepError> {
        let (mut report, meta) = (SweepReport::default(), &self.stack.meta);
        let begun = self.stack.clock.now();
        match reach {
            Reach::Recent => self.adopt(begun.before(RECENT), &mut report).await?,
            Reach::Deep => {
                let last = self.last_deep(begun).await?;
                let queue = self.stack.queue.incarnation().await?;
                self.adopt(last.before(DEEP), &mut report).await?;
                if !report.cut_short && report.unread == 0 {
                    meta.set_swept(begun).await?;
                    meta.set_queue_seen(&queue).await?;
                }
                self.clear_away(&mut report).await?;
            }
        }
        let unpurged = self.stack.meta.unpurged(PAGE).await?;
        report.removed += purge::remove(self.stack, unpurged).await?;
        Ok(report)
    }

    /// Whether the queue has another content than the last complete deep round saw: jobs may be missing that are older than the recent
    /// round looks back.
    async fn queue_was_lost(&self) -> Result<bool, SweepError> {
        let (now, seen) = (self.stack.queue.incarnation().await?, self.stack.meta.queue_seen().await?);
        let lost = seen.as_ref().is_some_and(|seen| *seen != now);
        if lost {
            warn!("the queue was lost or is an older copy, everything is looked for");
        }
        Ok(lost)
    }

    /// When the last complete deep round began; the very first one begins now, and counts from now on.
    async fn last_deep(&self, now: Timestamp) -> Result<Timestamp, meta::Error> {
        if let Some(last) = self.stack.meta.swept().await? {
            return Ok(last.min(now));
        }
        self.stack.meta.set_swept(now).await?;
        Ok(now)
    }
}

/// A sweep was broken off.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// The store of objects.
    #[error(transparent)]
    Storage(#[from] storage::Error),
    /// The ledger.
    #[error(transparent)]
    Metadata(#[from] meta::Error),
    /// The queue; that it is full is no error.
    #[error(transparent)]
    Queue(#[from] queue::Error),
}
