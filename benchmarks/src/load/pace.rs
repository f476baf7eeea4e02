//! When the next request is due.

use std::time::Duration;

use tokio::time::Instant;

/// What a request waits for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Pace {
    /// A closed loop: each connection sends its next request when the last one was answered. A slow subject is asked less.
    Closed,
    /// An open loop: so many requests a second are due, whatever became of the earlier ones. Latency counts from the moment that a request
    /// was due (to the timer's millisecond), so that one which waits because all connections are busy is not forgotten.
    Open {
        /// Arrivals a second, evenly spread.
        per_second: f64,
    },
}

impl Pace {
    /// When the `number`th request is due, of those that began at `begun`; `None`: as soon as there is a connection for it.
    pub(super) fn due(self, begun: Instant, number: u64) -> Option<Instant> {
        match self {
            Self::Closed => None,
            Self::Open { per_second } => Some(begun + Duration::from_secs_f64(number as f64 / per_second)),
        }
    }
}
