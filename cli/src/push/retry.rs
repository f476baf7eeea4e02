//! What comes of a try, and when the next one is: a pure decision.
//!
//! A server that says "not now" is believed; everything else that may pass is tried again with full jitter. What ends it is patience, not
//! a number of tries: a file is given up when nothing has moved for it for so long. Something has moved when a try got further into the
//! file than all before it, by more than what buffers on the way take in any case; for a file that is *refused* also when the server took
//! something from one of the others, because then it is at work, and the turn of this one will come.

use std::time::Duration;

use headworks_shared::resilience::Backoff;
use tokio::time::Instant;

use super::source::BUFFERED;

/// Waits after what may pass.
const BACKOFF: Backoff = Backoff { first: Duration::from_millis(500), most: Duration::from_secs(30) };

/// How much longer than it was told a client waits at most, so that those who were told the same do not come back together.
const SPREAD: f64 = 0.2;

/// Why a try did not end well, and might the next time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Trouble {
    /// The server says when to come back.
    Refused(Duration),
    /// Nobody answered, or the answer was that something broke.
    Fault,
}

/// What is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Decision {
    /// Try again after this time.
    Again(Duration),
    /// It has been long enough.
    GiveUp,
}

/// The tries of one file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Course {
    patience: Duration,
    /// When a try last got further than all before it.
    moved: Instant,
    furthest: u64,
    /// Faults in a row.
    faults: u32,
}

impl Course {
    /// Nothing was tried yet.
    pub(super) fn new(patience: Duration, now: Instant) -> Self {
        Self { patience, moved: now, furthest: 0, faults: 0 }
    }

    /// Takes in how a try ended that got `taken` bytes far, while the server last took something of any file at `others`; `spread` is
    /// random, 0 to 1.
    pub(super) fn decide(
        &mut self,
        trouble: Trouble,
        taken: u64,
        others: Instant,
        now: Instant,
        spread: f64,
    ) -> Decision {
        if taken > self.furthest + BUFFERED {
            (self.furthest, self.moved) = (taken, now);
        }
        let (wait, moved) = match trouble {
            Trouble::Refused(asked) => {
                self.faults = 0;
                (asked.mul_f64(1.0 + SPREAD * spread), self.moved.max(others))
            }
            Trouble::Fault => {
                self.faults = self.faults.saturating_add(1);
                (BACKOFF.wait(self.faults), self.moved)
            }
        };
        let over = now.saturating_duration_since(moved) >= self.patience;
        // A wait that is longer than all patience would only put off the end.
        if over || wait > self.patience.max(BACKOFF.most) { Decision::GiveUp } else { Decision::Again(wait) }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{advance, sleep};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(600);
    const SECOND: Duration = Duration::from_secs(1);

    /// Tries until it is given up, and says how long that took and how often it was.
    async fn until_given_up(trouble: Trouble) -> (Duration, u32) {
        let (begin, mut tries) = (Instant::now(), 0);
        let mut course = Course::new(PATIENCE, begin);
        loop {
            tries += 1;
            match course.decide(trouble, 100, begin, Instant::now(), fastrand::f64()) {
                Decision::Again(wait) => sleep(wait).await,
                Decision::GiveUp => return (begin.elapsed(), tries),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_pass_is_given_up_when_patience_is_over_and_not_before() {
        let longest = PATIENCE + BACKOFF.most + SECOND;
        let (took, tries) = until_given_up(Trouble::Fault).await;
        assert!(took >= PATIENCE && took <= longest, "{took:?}");
        assert!((20..200).contains(&tries), "{tries} tries");
        let (took, tries) = until_given_up(Trouble::Refused(5 * SECOND)).await;
        assert!(took >= PATIENCE && took <= longest, "{took:?}");
        assert!((100..=121).contains(&tries), "{tries} tries");
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_waited_out_as_told_and_a_little_more() {
        let now = Instant::now();
        let mut course = Course::new(PATIENCE, now);
        for spread in [0.0, 0.5, 1.0] {
            let decided = course.decide(Trouble::Refused(10 * SECOND), 0, now, now, spread);
            assert_eq!(decided, Decision::Again((10 * SECOND).mul_f64(1.0 + 0.2 * spread)));
        }
        assert_eq!(course.decide(Trouble::Refused(2 * PATIENCE), 0, now, now, 0.0), Decision::GiveUp);
    }

    #[tokio::test(start_paused = true)]
    async fn a_try_that_got_further_gives_new_patience() {
        let begin = Instant::now();
        let mut course = Course::new(PATIENCE, begin);
        for taken in [2, 4, 6].map(|times| times * BUFFERED) {
            advance(PATIENCE - SECOND).await;
            let decided = course.decide(Trouble::Fault, taken, begin, Instant::now(), 0.0);
            assert!(matches!(decided, Decision::Again(_)), "{taken}");
        }
        advance(PATIENCE).await;
        let decided = course.decide(Trouble::Fault, 7 * BUFFERED, begin, Instant::now(), 0.0);
        assert_eq!(decided, Decision::GiveUp, "no further than buffers go");
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_refused_waits_while_the_server_takes_others_but_who_fails_does_not() {
        let mut course = Course::new(PATIENCE, Instant::now());
        advance(3 * PATIENCE).await;
        let now = Instant::now();
        let refused = course.decide(Trouble::Refused(SECOND), 0, now - SECOND, now, 0.0);
        assert_eq!(refused, Decision::Again(SECOND));
        assert_eq!(course.decide(Trouble::Fault, 0, now - SECOND, now, 0.0), Decision::GiveUp);
    }
}
