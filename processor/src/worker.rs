//! Claims jobs in groups, and sees each group through its stages.
//!
//! Two bounds: `processor.prefetch` leases in all, `processor.concurrency` groups at once. A group costs one claim, one task and one
//! look at the store, so that a job costs nearly nothing.

use std::{sync::Arc, time::Duration};

use headworks_shared::{
    fault::{Point, point},
    report::Report,
    resilience::Backoff,
    shutdown::{Stop, Tasks},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::sleep,
};
use tracing::warn;

use crate::{
    Processor,
    lease::Lease,
    stage::{self, Checked},
};

/// The most jobs in a group: half a batch by default, so that checking one overlaps with writing another.
const GROUP: usize = 500;

/// How long a claim waits for a first job. A stop waits for it too: a claim that is cut off would keep its jobs for a whole lease.
const POLL: Duration = Duration::from_millis(250);

/// How long claiming rests after a small group, so that the next one is larger: half of what a batch waits for its rows by default.
const REST: Duration = Duration::from_millis(10);

/// A job that was handed out more often without any answer may have killed its workers. It is put back as tried, so that it comes
/// again later, among fewer others, and is dead in the end; most of those that were in work beside it are not to blame. (An answer lets
/// the queue count from the start.)
const MAX_DELIVERIES: u32 = 5;

/// Claims until the stop.
pub(crate) async fn run(
    processor: Arc<Processor>,
    tasks: Tasks,
    checked: mpsc::Sender<Vec<Checked>>,
    stop: Stop,
) {
    let groups = Arc::new(Semaphore::new(processor.settings.concurrency));
    let mut failures = 0;
    while let Some((permit, room)) = stop.run_until_cancelled(room(&processor, &groups)).await {
        match processor.stack.queue.claim(room.min(GROUP), POLL).await {
            Ok(claimed) => {
                failures = 0;
                let few = claimed.len() < GROUP / 2;
                if !claimed.is_empty() {
                    point(Point::AfterClaim);
                }
                let leases = processor.leases.take(claimed);
                if stop.is_cancelled() {
                    processor.give_back(leases, Duration::ZERO).await;
                } else if !leases.is_empty() {
                    let (processor, checked) = (Arc::clone(&processor), checked.clone());
                    tasks.spawn("group", |stop| work(processor, leases, checked, permit, stop));
                    if few {
                        stop.run_until_cancelled(sleep(REST)).await;
                    }
                }
            }
            Err(error) => {
                failures += 1;
                warn!(failures, error = %Report(&error), "no jobs claimed");
                processor.stack.retries.queue.again();
                stop.run_until_cancelled(sleep(Backoff::CALL.wait(failures))).await;
            }
        }
    }
}

/// Waits for the right to claim: a place for a group, and room for leases.
async fn room(processor: &Processor, groups: &Arc<Semaphore>) -> (Option<OwnedSemaphorePermit>, usize) {
    // The semaphore is never closed, so there always is a permit.
    let permit = Arc::clone(groups).acquire_owned().await.ok();
    (permit, processor.leases.room().await)
}

/// One group, from its claim to the batch. The permit is given back when its stages have ended; the leases go on with their jobs.
async fn work(
    processor: Arc<Processor>,
    leases: Vec<Lease>,
    checked: mpsc::Sender<Vec<Checked>>,
    permit: Option<OwnedSemaphorePermit>,
    stop: Stop,
) {
    let (deadly, leases): (Vec<_>, Vec<_>) =
        leases.into_iter().partition(|lease| lease.deliveries() > MAX_DELIVERIES);
    for lease in deadly {
        let error = format!("handed out {} times without an answer", lease.deliveries());
        processor.put_back(lease, error).await;
    }
    stage::run(&processor, leases, &checked, &stop).await;
    drop(permit);
}
