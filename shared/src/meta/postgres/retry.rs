//! Repeats a transaction that the database chose to give up, for the sake of another one: three tries, with full jitter, never past
//! the call's deadline. What was not reached is not asked again here: that is the caller's to pace.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{fault::Fault, transaction::Deadline};
use crate::resilience::Guard;

const TRIES: u32 = 3;

/// The longest pause before the second try; it doubles with each.
const PAUSE: Duration = Duration::from_millis(50);

/// The tries of one call.
#[derive(Debug)]
pub(super) struct Tries {
    pub(super) deadline: Deadline,
    done: u32,
    guard: Guard,
}

impl Tries {
    pub(super) fn by(deadline: Deadline, guard: Guard) -> Self {
        Self { deadline, done: 0, guard }
    }

    /// Whether to try again after this fault; waits a little first.
    pub(super) async fn again(&mut self, fault: &Fault) -> bool {
        self.done += 1;
        if self.done >= TRIES || !fault.asks_for_a_repeat() {
            return false;
        }
        let pause = PAUSE.mul_f64(fastrand::f64() * f64::from(1 << (self.done - 1)));
        if Instant::now() + pause >= self.deadline.at {
            return false;
        }
        self.guard.retried();
        sleep(pause).await;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resilience::Rule;

    #[tokio::test(start_paused = true)]
    async fn gives_up_after_three_tries_and_at_the_deadline() {
        let by = |seconds| {
            let guard = Guard::silent("database", Rule::DATABASE);
            Tries::by(Deadline::within(Duration::from_secs(seconds)), guard)
        };
        let mut tries = by(9);
        assert!(tries.again(&Fault::Overtaken).await && tries.again(&Fault::Overtaken).await);
        assert!(!tries.again(&Fault::Overtaken).await);
        let mut late = by(0);
        assert!(!late.again(&Fault::Overtaken).await);
        let mut other = by(9);
        assert!(!other.again(&Fault::ReadOnly).await);
    }
}
