//! Repeats a transaction that the database chose to give up, for the sake of another one: three tries, with full jitter, never past
//! the call's deadline. What was not reached is not asked again here: that is the caller's to pace.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{fault::Fault, transaction::Deadline};

const TRIES: u32 = 3;

/// The longest pause before the second try; it doubles with each.
const PAUSE: Duration = Duration::from_millis(50);

/// The tries of one call.
#[derive(Debug)]
pub(super) struct Tries {
    pub(super) deadline: Deadline,
    done: u32,
}

impl Tries {
    pub(super) fn by(deadline: Deadline) -> Self {
        Self { deadline, done: 0 }
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
        sleep(pause).await;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn gives_up_after_three_tries_and_at_the_deadline() {
        let mut tries = Tries::by(Deadline::within(Duration::from_secs(9)));
        assert!(tries.again(&Fault::Overtaken).await && tries.again(&Fault::Overtaken).await);
        assert!(!tries.again(&Fault::Overtaken).await);
        let mut late = Tries::by(Deadline::within(Duration::ZERO));
        assert!(!late.again(&Fault::Overtaken).await);
        let mut other = Tries::by(Deadline::within(Duration::from_secs(9)));
        assert!(!other.again(&Fault::ReadOnly).await);
    }
}
