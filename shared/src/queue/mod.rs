//! The queue between ingest and processors: bounded exactly, with credits, three priorities, delays and leases.
//!
//! The bound: `ready + in flight + delayed + credits held ≤ capacity`, at every moment. A credit is the right to put one job on
//! the queue; whoever admits an upload holds one from before its first byte until its job is pushed. So a full queue refuses at
//! the door and never afterwards.
//!
//! The queue need not be durable for safety: an object is its own receipt, and the sweep makes its job again.

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
pub mod memory;
pub mod redis;
pub mod sqlite;
mod state;
mod wait;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::time::Instant;

use crate::model::{Job, Priority, UploadId};

/// A queue of jobs.
#[async_trait]
pub trait JobQueue: Send + Sync + fmt::Debug {
    /// Asks to hold `want` unspent credits of each priority ([`Priority::ALL`]'s order) in all: more than before, fewer, or none. What was asked is
    /// granted as far as the bound and the priority's share allow; credits already held are never taken away by asking again for as
    /// many. A grant lapses after [`Settings::credit_ttl`] unless it is asked for again.
    ///
    /// # Errors
    /// When the queue cannot be reached.
    async fn hold_credits(&self, holder: &Holder, want: [usize; 3]) -> Result<Grant, Error>;

    /// Puts a job in line, and spends one credit of its priority that `holder` holds. Without one (it lapsed, or `holder` is
    /// `None`) the job still gets in where the bound and its priority's share leave room. A job whose id is already on the queue
    /// changes nothing, and spends the credit.
    ///
    /// # Errors
    /// [`Error::Full`] when there is no credit and no room. The credit, if there was one, is not spent by an error.
    async fn push(&self, job: Job, holder: Option<&Holder>) -> Result<(), Error>;

    /// Takes a job over that `holder` has a credit for, at once and without an answer from anywhere, where the queue was told that it
    /// may lose with its process what came in its last moment; [`Self::incarnation`] shows it then. While the process lives the job is
    /// not lost: what cannot be kept now is tried again. `false`, and nothing happened, where the job is to be pushed.
    fn hand_over(&self, _job: &Arc<Job>, _holder: &Holder) -> bool {
        false
    }

    /// Takes up to `max` jobs in the order 8 high : 3 normal : 1 low, oldest first within each, and answers for them for
    /// [`Settings::lease`]. Waits up to `wait` for the first one; an empty answer is no error. Delayed jobs whose time has come
    /// and leases that lapsed are in line again, the latter with one more delivery.
    ///
    /// # Errors
    /// When the queue cannot be reached.
    async fn claim(&self, max: usize, wait: Duration) -> Result<Vec<Claimed>, Error>;

    /// Answers for these leases for another [`Settings::lease`]: the heartbeat. Leases that lapsed are passed over.
    ///
    /// # Errors
    /// When the queue cannot be reached.
    async fn extend(&self, tickets: &[Ticket]) -> Result<(), Error>;

    /// The jobs are done and leave the queue. A ticket whose lease lapsed changes nothing: somebody else has the job.
    ///
    /// # Errors
    /// When the queue cannot be reached.
    async fn done(&self, tickets: &[Ticket]) -> Result<(), Error>;

    /// Puts a job back: at the end of its line after `delay`, with one more try if `tried`; given back unstarted, at once, without.
    /// A ticket whose lease lapsed changes nothing.
    ///
    /// # Errors
    /// When the queue cannot be reached.
    async fn again(&self, ticket: Ticket, delay: Duration, tried: bool) -> Result<(), Error>;

    /// How full the queue is.
    ///
    /// # Errors
    /// When the queue cannot be reached.
    async fn depth(&self) -> Result<Depth, Error>;

    /// Names this content of the queue: another name whenever jobs may have been lost since, and the same as long as none were. Who
    /// sees it change looks for jobs that are missing.
    ///
    /// # Errors
    /// When the queue cannot be reached.
    async fn incarnation(&self) -> Result<String, Error>;
}

/// The numbers that rule a queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// The bound, in jobs.
    pub capacity: usize,
    /// How long a claim answers for a job without a heartbeat.
    pub lease: Duration,
    /// How long a grant of credits is good for.
    pub credit_ttl: Duration,
}

impl Settings {
    /// A queue of `capacity` jobs, with leases of 60 s and grants of 30 s.
    pub const fn with_capacity(capacity: usize) -> Self {
        Self { capacity, lease: Duration::from_secs(60), credit_ttl: Duration::from_secs(30) }
    }
}

/// Names who holds credits: one per process.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Holder(pub Arc<str>);

/// The credits that a holder holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Grant {
    /// Unspent credits of each priority, in the order of [`Priority::ALL`].
    pub held: [usize; 3],
    /// Not to be trusted from then on.
    pub until: Instant,
}

/// A job that a worker must answer for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claimed {
    /// The job.
    pub job: Arc<Job>,
    /// What to answer with.
    pub ticket: Ticket,
    /// How often it was handed out, this time included, times that were answered by putting it back left out; a job that
    /// kills its worker shows by it.
    pub deliveries: u32,
}

/// One claim of one job. A later claim of the same job has another ticket, so a late answer cannot undo it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ticket {
    /// Which line the job stands in.
    pub priority: Priority,
    /// The job.
    pub job: UploadId,
    /// The entry.
    pub entry: u128,
    /// The claim.
    pub claim: u64,
}

impl Ticket {
    /// The entry, where entries are counted from 1.
    fn number(&self) -> u64 {
        u64::try_from(self.entry).unwrap_or(u64::MAX)
    }
}

/// How full the queue is.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Depth {
    /// In line, of each priority.
    pub ready: [usize; 3],
    /// Claimed and not answered, of each priority.
    pub in_flight: [usize; 3],
    /// Put back for later, of each priority.
    pub delayed: [usize; 3],
    /// Credits held and unspent, of each priority.
    pub credited: [usize; 3],
    /// How long the oldest job has been on the queue.
    pub oldest: Option<Duration>,
    /// Jobs that left it done, whoever put them on it, since it began to count: what the pace of its drain is known by. It counts
    /// from 0 again when it was lost or, in the embedded system, opened anew.
    pub done: u64,
}

impl Depth {
    /// What the bound is about.
    pub fn total(&self) -> usize {
        self.jobs() + self.credited.iter().sum::<usize>()
    }

    /// Neither a job nor a credit is out.
    pub fn is_empty(&self) -> bool {
        self.total() == 0
    }

    /// All jobs, in whatever state.
    pub fn jobs(&self) -> usize {
        [self.ready, self.in_flight, self.delayed].iter().flatten().sum()
    }
}

/// The queue did not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// There is no credit and no room.
    #[error("queue is full")]
    Full,
    /// The queue cannot be reached, or failed.
    #[error("reach the queue")]
    Unavailable(#[source] Arc<dyn std::error::Error + Send + Sync>),
}
