//! The gate: whether anything new is taken in, and if not, why.
//!
//! Each reason has a shutter of its own with two marks, so that it does not flap: between them it stays as it is. The gate is open
//! when all shutters are. Only new uploads look at it.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use tokio::sync::Notify;
use tracing::{info, warn};

/// Why the gate is shut: the metric's label, the log's field and the refusal's `reason` alike.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Reason {
    /// The process has grown too large.
    Memory,
    /// The queue has no room.
    Queue,
    /// The disk has no room.
    Disk,
    /// The store cannot be reached.
    Store,
    /// Headworks is stopping.
    Drain,
    /// Somebody shut it by hand.
    Operator,
}

impl Reason {
    /// All of them, the first one that holds is told.
    pub const ALL: [Self; 6] =
        [Self::Drain, Self::Operator, Self::Disk, Self::Memory, Self::Store, Self::Queue];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Queue => "queue",
            Self::Disk => "disk",
            Self::Store => "store",
            Self::Drain => "drain",
            Self::Operator => "operator",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// One reason's state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shutter {
    /// Nothing against new uploads.
    Open,
    /// No new uploads.
    Shut,
}

/// Where a shutter shuts, and where it opens again. Growing numbers are worse; for free space, measure what is used.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Mark {
    /// Shuts at this ratio and above.
    pub shut_at: f64,
    /// Opens at this ratio and below.
    pub open_at: f64,
}

/// A measurement for one reason.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Sample {
    /// What it is about.
    pub reason: Reason,
    /// The part in use, 0 to 1.
    pub ratio: f64,
}

impl Shutter {
    /// The state after a measurement.
    pub fn next(self, ratio: f64, mark: Mark) -> Self {
        match self {
            Self::Open if ratio >= mark.shut_at => Self::Shut,
            Self::Shut if ratio <= mark.open_at => Self::Open,
            Self::Open | Self::Shut => self,
        }
    }
}

/// The gate of one process.
#[derive(Clone, Default)]
pub struct Gate(Arc<Shutters>);

#[derive(Default)]
struct Shutters {
    /// A bit for each reason.
    shut: AtomicU8,
    moved: Notify,
}

impl Gate {
    /// Why it is shut, if it is; with several reasons the first of [`Reason::ALL`].
    pub fn shut(&self) -> Option<Reason> {
        match self.0.shut.load(Ordering::Relaxed) {
            0 => None,
            shut => Reason::ALL.into_iter().find(|reason| shut & reason.bit() != 0),
        }
    }

    /// Whether it is shut for this reason.
    pub fn is_shut_for(&self, reason: Reason) -> bool {
        self.0.shut.load(Ordering::Relaxed) & reason.bit() != 0
    }

    /// Takes in a measurement.
    pub fn measure(&self, sample: Sample, mark: Mark) {
        let before = if self.is_shut_for(sample.reason) { Shutter::Shut } else { Shutter::Open };
        self.set(sample.reason, before.next(sample.ratio, mark), format_args!("{:.3} in use", sample.ratio));
    }

    /// Shuts or opens it for one reason; logged once for each change, with its figures.
    pub fn set(&self, reason: Reason, to: Shutter, figures: impl fmt::Display) {
        let before = match to {
            Shutter::Shut => self.0.shut.fetch_or(reason.bit(), Ordering::Relaxed),
            Shutter::Open => self.0.shut.fetch_and(!reason.bit(), Ordering::Relaxed),
        };
        match (before & reason.bit() != 0, to) {
            (false, Shutter::Shut) if reason == Reason::Drain => {
                info!(reason = reason.as_str(), "intake shut")
            }
            (false, Shutter::Shut) => warn!(reason = reason.as_str(), %figures, "intake shut"),
            (true, Shutter::Open) => info!(reason = reason.as_str(), %figures, "intake open again"),
            _ => return,
        }
        self.0.moved.notify_one();
    }

    /// Waits until a shutter has moved since this was last waited for. There may be one who waits.
    pub async fn moved(&self) {
        self.0.moved.notified().await;
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(Reason::ALL.into_iter().filter(|reason| self.is_shut_for(*reason))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: Mark = Mark { shut_at: 0.8, open_at: 0.7 };

    #[test]
    fn stays_as_it_is_between_the_marks() {
        assert_eq!(Shutter::Open.next(0.75, MARK), Shutter::Open);
        assert_eq!(Shutter::Shut.next(0.75, MARK), Shutter::Shut);
        assert_eq!(Shutter::Open.next(0.8, MARK), Shutter::Shut);
        assert_eq!(Shutter::Shut.next(0.7, MARK), Shutter::Open);
    }

    #[test]
    fn is_open_only_when_no_reason_is_left() {
        let gate = Gate::default();
        assert_eq!(gate.shut(), None);
        gate.measure(Sample { reason: Reason::Memory, ratio: 0.9 }, MARK);
        gate.set(Reason::Operator, Shutter::Shut, "by hand");
        assert_eq!(gate.shut(), Some(Reason::Operator));
        gate.set(Reason::Operator, Shutter::Open, "by hand");
        assert_eq!(gate.shut(), Some(Reason::Memory));
        gate.measure(Sample { reason: Reason::Memory, ratio: 0.1 }, MARK);
        assert_eq!(gate.shut(), None);
    }

    #[tokio::test]
    async fn a_move_is_told_once_and_standing_still_never() {
        let gate = Gate::default();
        gate.set(Reason::Operator, Shutter::Open, "by hand");
        assert!(futures_util::poll!(Box::pin(gate.moved())).is_pending());
        gate.set(Reason::Operator, Shutter::Shut, "by hand");
        gate.moved().await;
        assert!(futures_util::poll!(Box::pin(gate.moved())).is_pending());
    }
}
