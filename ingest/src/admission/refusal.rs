//! A "not now": a value that knows its label, its wait and its words.

use std::time::Duration;

use headworks_shared::{
    http::{Code, Problem},
    limits::Reason,
};

/// Why an upload may not begin now.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Refusal {
    /// The gate is shut.
    Shut(Reason),
    /// As many uploads are in flight as may be.
    Streams,
    /// The queue has no room.
    Queue {
        /// How long it takes, at its present pace, until a tenth of the queue is free; `None` while nothing drains.
        drain: Option<Duration>,
    },
    /// The queue does not answer.
    Unreachable,
}

/// The wait when nothing better is known.
const USUAL_WAIT: Duration = Duration::from_secs(5);

/// Waits are never longer: a client that is told more goes away for good.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

impl Refusal {
    /// The refusal's name: in metrics, logs and the problem's `reason`.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Shut(reason) => reason.as_str(),
            Self::Streams => "streams",
            Self::Queue { .. } | Self::Unreachable => "queue",
        }
    }

    /// What the reason itself takes, before jitter; the line comes on top of it.
    pub fn wait(self) -> Duration {
        match self {
            Self::Shut(Reason::Disk | Reason::Operator) => LONGEST_WAIT,
            Self::Shut(_) | Self::Unreachable => USUAL_WAIT,
            Self::Streams => Duration::ZERO,
            Self::Queue { drain } => drain.map_or(LONGEST_WAIT, |drain| drain.min(LONGEST_WAIT)),
        }
    }

    /// What the client is told.
    pub const fn detail(self) -> &'static str {
        match self {
            Self::Shut(Reason::Memory) => "memory is short; nothing of the body was read",
            Self::Shut(Reason::Disk) => "the disk is nearly full; nothing of the body was read",
            Self::Shut(Reason::Drain) => "this instance is stopping; nothing of the body was read",
            Self::Shut(Reason::Operator) => "intake is paused by hand; nothing of the body was read",
            Self::Shut(Reason::Store) => "storage cannot be reached; nothing of the body was read",
            Self::Shut(Reason::Queue) | Self::Queue { .. } => {
                "the queue is full; nothing of the body was read"
            }
            Self::Unreachable => "the queue cannot be reached; nothing of the body was read",
            Self::Streams => "too many uploads are in flight; nothing of the body was read",
        }
    }

    /// The answer, to one that is called after `line`: with ± 20 % jitter, so that those who were refused together do not come back
    /// together.
    pub fn to_problem(self, line: Duration, jitter: f64) -> Problem {
        let wait = (self.wait() + line).mul_f64(0.8 + 0.4 * jitter.clamp(0.0, 1.0));
        Problem::new(Code::Refused).refused(self.reason(), wait).detail(self.detail()).close()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_follows_from_the_pace_of_the_queue() {
        let slow = Refusal::Queue { drain: Some(Duration::from_secs(600)) };
        let fast = Refusal::Queue { drain: Some(Duration::from_millis(10)) };
        assert_eq!((slow.wait(), fast.wait()), (LONGEST_WAIT, Duration::from_millis(10)));
        assert_eq!(Refusal::Queue { drain: None }.wait(), LONGEST_WAIT, "nothing drains");
        let problem = fast.to_problem(Duration::from_secs(1), 1.0).to_json("r");
        assert_eq!((problem["reason"].as_str(), problem["retry_after_s"].as_u64()), (Some("queue"), Some(2)));
        let problem = slow.to_problem(Duration::from_secs(1), 0.5).to_json("r");
        assert_eq!(problem["retry_after_s"].as_u64(), Some(61));
    }
}
