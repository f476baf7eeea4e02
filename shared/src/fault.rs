//! Named points at which a test lets the process die, as a power cut or the kernel's killer would: at once, with nothing said or given
//! back. They are there only with the feature `failpoints`, which no release has.
//!
//! `HEADWORKS_FAILPOINT=after_push:3` dies when `after_push` is come to for the third time.

/// The points, in the order of an upload's way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Point {
    /// Ingest: the idempotency key has its marker, nothing of the body was read.
    AfterMarker,
    /// Ingest: the object is there, its job is not.
    AfterBody,
    /// Ingest: the job is queued, the client has no answer.
    AfterPush,
    /// Processor: jobs are claimed, nothing was looked at.
    AfterClaim,
    /// Processor: jobs are checked, their rows are not written.
    BeforeCommit,
    /// Processor: rows are written, leases are not answered.
    AfterCommit,
    /// Processor: leases are answered, events are not relayed.
    AfterDone,
    /// Processor: a webhook was answered, its delivery is not settled.
    AfterDelivery,
}

impl Point {
    /// Its name in the environment.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AfterMarker => "after_marker",
            Self::AfterBody => "after_body",
            Self::AfterPush => "after_push",
            Self::AfterClaim => "after_claim",
            Self::BeforeCommit => "before_commit",
            Self::AfterCommit => "after_commit",
            Self::AfterDone => "after_done",
            Self::AfterDelivery => "after_delivery",
        }
    }
}

/// Comes to a point; does nothing in a release.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub fn point(_: Point) {}

/// Comes to a point, and dies there if it was told to.
#[cfg(feature = "failpoints")]
pub fn point(at: Point) {
    use std::sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    };
    static TOLD: LazyLock<Option<(String, u64)>> = LazyLock::new(|| {
        let told = crate::config::failpoint()?;
        let (name, times) = told.split_once(':').unwrap_or((&told, "1"));
        Some((name.to_owned(), times.parse().ok()?))
    });
    static COME: AtomicU64 = AtomicU64::new(0);
    let here = TOLD.as_ref().filter(|(name, _)| name == at.as_str());
    if here.is_some_and(|(_, times)| COME.fetch_add(1, Ordering::SeqCst) + 1 == *times) {
        use rustix::process::{Signal, getpid, kill_process};
        // It cannot fail for oneself, and nobody is left to be told.
        let _gone = kill_process(getpid(), Signal::KILL);
    }
}
