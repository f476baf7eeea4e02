//! How slow a client may be. Only the time spent waiting for the client counts: a slow store is not its fault.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use headworks_shared::storage::BodyError;
use tokio::time::{Instant, Sleep, sleep_until};

/// The least rate is measured over so much waiting.
const WINDOW: Duration = Duration::from_secs(30);

/// Waiting before the first window: a connection needs time to get up to speed.
const GRACE: Duration = Duration::from_secs(10);

/// The rules, and how a client has kept them; without a clock of its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    stall_timeout: Duration,
    least_per_window: u64,
    /// How much waiting this window has.
    window: Duration,
    /// How much of it is left.
    left: Duration,
    /// Bytes received when this window began.
    received_before: u64,
    /// Nothing of the upload may come after it, from its first wait on.
    total: Duration,
}

/// What is to be done about a client.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Verdict {
    /// Look again after this much more waiting.
    WaitFor(Duration),
    /// It is too slow.
    TooSlow(BodyError),
}

impl Pace {
    pub(super) fn new(stall_timeout: Duration, min_rate: u64, total: Duration) -> Self {
        let least_per_window = min_rate.saturating_mul(WINDOW.as_secs());
        let window = GRACE + WINDOW;
        Self { stall_timeout, least_per_window, window, left: window, received_before: 0, total }
    }

    /// The client has been waited for, `waited` in one go, and `received` bytes have come in all.
    fn check(&self, waited: Duration, received: u64) -> Verdict {
        if waited >= self.stall_timeout {
            return Verdict::TooSlow(BodyError::TooSlow { received: 0, waited });
        }
        let in_window = received - self.received_before;
        if waited >= self.left && in_window < self.least_per_window {
            return Verdict::TooSlow(BodyError::TooSlow { received: in_window, waited: self.window });
        }
        let window = self.left.checked_sub(waited).filter(|left| !left.is_zero()).unwrap_or(WINDOW);
        Verdict::WaitFor(window.min(self.stall_timeout.saturating_sub(waited)))
    }

    /// A wait is over: `waited` long, with `received` bytes in all before what has come now. When something comes just as the window
    /// ends, the window is judged at the next wait: by then all is read that was on its way.
    fn ended(self, waited: Duration, received: u64) -> Self {
        match self.left.checked_sub(waited) {
            Some(left) if !left.is_zero() => Self { left, ..self },
            _ if received - self.received_before < self.least_per_window => {
                Self { left: Duration::ZERO, ..self }
            }
            _ => Self { window: WINDOW, left: WINDOW, received_before: received, ..self },
        }
    }
}

/// Measures the waits for one body, or for one form.
#[derive(Debug)]
pub(crate) struct Timer {
    pace: Pace,
    until: Option<Instant>,
    waiting_since: Option<Instant>,
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Timer {
    pub(super) fn new(pace: Pace) -> Self {
        Self { pace, until: None, waiting_since: None, alarm: None }
    }

    /// Something came: the wait, if there was one, is over.
    pub(crate) fn came(&mut self, received: u64) {
        if let Some(since) = self.waiting_since.take() {
            self.pace = self.pace.ended(since.elapsed(), received);
        }
    }

    /// Nothing has come yet; ready when the client is too slow.
    pub(crate) fn poll_waiting(&mut self, context: &mut Context<'_>, received: u64) -> Poll<BodyError> {
        let now = Instant::now();
        let since = *self.waiting_since.get_or_insert(now);
        let until = *self.until.get_or_insert(now + self.pace.total);
        loop {
            let now = Instant::now();
            let waited = now.duration_since(since);
            let look_again = match self.pace.check(waited, received) {
                Verdict::WaitFor(more) if now < until => (now + more).min(until),
                Verdict::WaitFor(_) => {
                    return Poll::Ready(BodyError::TooSlow { received, waited: self.pace.total });
                }
                Verdict::TooSlow(slow) => return Poll::Ready(slow),
            };
            let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(look_again)));
            if alarm.deadline() > look_again || alarm.is_elapsed() {
                alarm.as_mut().reset(look_again);
            }
            ready!(alarm.as_mut().poll(context));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::advance;

    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    fn pace() -> Pace {
        Pace::new(S(30), 1024, S(3600))
    }

    fn too_slow(received: u64, seconds: u64) -> Verdict {
        Verdict::TooSlow(BodyError::TooSlow { received, waited: S(seconds) })
    }

    #[test]
    fn a_client_that_sends_nothing_is_too_slow_after_the_stall_timeout() {
        assert_eq!(pace().check(S(29), 5), Verdict::WaitFor(S(1)));
        assert_eq!(pace().check(S(30), 5), too_slow(0, 30));
    }

    #[test]
    fn a_trickle_below_the_least_rate_is_too_slow_after_grace_and_window() {
        let mut pace = pace();
        for second in 0..39 {
            assert_eq!(
                pace.check(S(1), second * 100),
                Verdict::WaitFor(S((39 - second).min(29))),
                "second {second}"
            );
            pace = pace.ended(S(1), second * 100);
        }
        assert_eq!(pace.check(S(1), 3900), too_slow(3900, 40));
    }

    #[test]
    fn a_client_at_the_least_rate_may_go_on_for_ever() {
        let mut pace = pace();
        for second in 1..10_000 {
            assert!(matches!(pace.check(S(1), second * 1100), Verdict::WaitFor(_)), "second {second}");
            pace = pace.ended(S(1), second * 1100);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_sends_just_when_the_alarm_rings_is_judged_all_the_same() {
        let (mut timer, mut waits) = (Timer::new(pace()), 0);
        let slow = loop {
            if let Poll::Ready(slow) =
                futures_util::poll!(poll_fn(|context| timer.poll_waiting(context, waits * 100)))
            {
                break slow;
            }
            assert!(waits < 100, "it goes on for ever");
            advance(S(1)).await;
            timer.came(waits * 100);
            waits += 1;
        };
        assert_eq!((waits, slow), (40, BodyError::TooSlow { received: 4000, waited: S(40) }));
    }

    #[tokio::test(start_paused = true)]
    async fn the_alarm_rings_when_it_should() {
        let begun = Instant::now();
        let mut timer = Timer::new(pace());
        let error = poll_fn(|context| timer.poll_waiting(context, 7)).await;
        assert_eq!(error, BodyError::TooSlow { received: 0, waited: S(30) });
        assert_eq!(begun.elapsed().as_secs(), 30);
    }
}
