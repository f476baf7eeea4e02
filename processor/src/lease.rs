//! The leases this processor must answer for: bounded by `processor.prefetch`, kept alive by one heartbeat, and given up by whoever
//! drops one. So a job whose task broke down is delivered again, and counted, without anybody having to notice.

use std::{
    collections::HashSet,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use headworks_shared::{
    model::Job,
    queue::{Claimed, Ticket},
    report::Report,
    shutdown::Stop,
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};
use tracing::warn;

use crate::Processor;

/// All leases that are open.
pub(crate) struct Leases {
    limit: usize,
    open: Mutex<HashSet<Ticket>>,
    freed: Notify,
    emptied: Notify,
}

impl Leases {
    /// Room for `limit` leases.
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, open: Mutex::default(), freed: Notify::new(), emptied: Notify::new() })
    }

    /// Waits until there is room, and says for how many. Only one task may ask and then take.
    pub(crate) async fn room(&self) -> usize {
        loop {
            let room = self.limit.saturating_sub(self.lock().len());
            if room > 0 {
                return room;
            }
            self.freed.notified().await;
        }
    }

    /// Begins to answer for what was claimed.
    pub(crate) fn take(self: &Arc<Self>, claimed: Vec<Claimed>) -> Vec<Lease> {
        let since = Instant::now();
        self.lock().extend(claimed.iter().map(|claimed| claimed.ticket));
        claimed.into_iter().map(|claimed| Lease { claimed, since, leases: Arc::clone(self) }).collect()
    }

    /// All that are open.
    pub(crate) fn tickets(&self) -> Vec<Ticket> {
        self.lock().iter().copied().collect()
    }

    /// Waits until none is open.
    async fn empty(&self) {
        while !self.lock().is_empty() {
            self.emptied.notified().await;
        }
    }

    fn close(&self, ticket: Ticket) {
        let mut open = self.lock();
        open.remove(&ticket);
        if open.is_empty() {
            self.emptied.notify_one();
        }
        self.freed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<Ticket>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Leases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Leases({} of {})", self.lock().len(), self.limit)
    }
}

/// A job that this processor must answer for. Dropped, its heartbeat ends, and unless it was answered it is delivered again.
#[must_use = "an unanswered lease is delivered again"]
#[derive(Debug)]
pub(crate) struct Lease {
    claimed: Claimed,
    since: Instant,
    leases: Arc<Leases>,
}

impl Lease {
    /// The job.
    pub(crate) fn job(&self) -> &Job {
        &self.claimed.job
    }

    /// What to answer with.
    pub(crate) fn ticket(&self) -> Ticket {
        self.claimed.ticket
    }

    /// How often the job was handed out, this time included.
    pub(crate) fn deliveries(&self) -> u32 {
        self.claimed.deliveries
    }

    /// How long ago it was claimed.
    pub(crate) fn age(&self) -> Duration {
        self.since.elapsed()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.leases.close(self.claimed.ticket);
    }
}

/// Extends all open leases every third of their time, so that one beat may fail; ends after a stop, when the last one is answered.
pub(crate) async fn heartbeat(processor: Arc<Processor>, stop: Stop) {
    loop {
        tokio::select! {
            () = sleep(processor.lease / 3) => {}
            () = async { stop.cancelled().await; processor.leases.empty().await } => return,
        }
        let tickets = processor.leases.tickets();
        if tickets.is_empty() {
            continue;
        }
        if let Err(error) = processor.stack.queue.extend(&tickets).await {
            warn!(leases = tickets.len(), error = %Report(&error), "heartbeat failed, jobs may be delivered twice");
        }
    }
}
