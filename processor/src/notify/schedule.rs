//! What comes of a try, and when the next one is: a pure decision.
//!
//! A delivery is tried twelve times in about three days; each wait is spread over a whole wait around its middle, so that receivers that
//! were down do not get everything back at one moment.

use std::time::Duration;

/// The middle of the wait after each failed try, in seconds; after the last of them it stays.
const WAITS: [u64; 10] = [5, 30, 120, 600, 1_800, 3_600, 10_800, 21_600, 43_200, 86_400];

/// The longest wait that a receiver may ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(86_400);

/// What a try came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Answer {
    /// The receiver answered.
    Status {
        /// The status.
        code: u16,
        /// How long it asks to be left alone.
        retry_after: Option<Duration>,
    },
    /// It did not answer in time, or not at all.
    None,
}

/// What is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Decision {
    /// Nothing: it is delivered.
    Delivered,
    /// Try again after this time.
    Retry(Duration),
    /// Nothing: it was tried often enough.
    GiveUp,
    /// Send nothing more to this receiver until a person enables it; this delivery waits too.
    Disable(Duration),
}

/// Decides after a failed or successful try. `tries` counts those before this one; `spread` is random, 0 to 1.
pub(super) fn decide(answer: Answer, tries: u32, max_tries: u32, spread: f64) -> Decision {
    let last = tries.saturating_add(1) >= max_tries;
    let wait = wait(tries, spread);
    match answer {
        Answer::Status { code: 200..=299, .. } => Decision::Delivered,
        Answer::Status { code: 410, .. } => Decision::Disable(wait),
        Answer::Status { .. } | Answer::None if last => Decision::GiveUp,
        Answer::Status { retry_after: Some(asked), .. } => {
            Decision::Retry(asked.min(MAX_RETRY_AFTER).max(wait))
        }
        Answer::Status { retry_after: None, .. } | Answer::None => Decision::Retry(wait),
    }
}

fn wait(tries: u32, spread: f64) -> Duration {
    let place = usize::try_from(tries).unwrap_or(usize::MAX).min(WAITS.len() - 1);
    let middle = WAITS.get(place).copied().unwrap_or_default();
    Duration::from_secs(middle).mul_f64(0.5 + spread.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u16) -> Answer {
        Answer::Status { code, retry_after: None }
    }

    #[test]
    fn any_2xx_is_delivered_410_disables_and_the_rest_is_tried_again() {
        assert_eq!(decide(status(204), 11, 12, 0.5), Decision::Delivered);
        let wait = Duration::from_secs(5);
        assert_eq!(decide(status(410), 0, 12, 0.5), Decision::Disable(wait));
        for answer in [status(500), status(404), status(301), status(429), Answer::None] {
            assert_eq!(decide(answer, 0, 12, 0.5), Decision::Retry(wait), "{answer:?}");
            assert_eq!(decide(answer, 11, 12, 0.5), Decision::GiveUp, "{answer:?}");
        }
    }

    #[test]
    fn twelve_tries_take_about_three_days_and_are_spread() {
        let total = |spread| (0..11).map(|tries| wait(tries, spread)).sum::<Duration>().as_secs() / 3600;
        assert_eq!((total(0.0), total(0.5), total(1.0)), (35, 70, 106));
        assert_eq!(wait(u32::MAX, 0.5), Duration::from_secs(86_400));
    }

    #[test]
    fn retry_after_is_honoured_up_to_a_day_and_never_hastens() {
        let ask = |seconds| Answer::Status { code: 503, retry_after: Some(Duration::from_secs(seconds)) };
        for (asked, wait) in [(0, 5), (90, 90), (1_000_000, 86_400)] {
            assert_eq!(decide(ask(asked), 0, 12, 0.5), Decision::Retry(Duration::from_secs(wait)));
        }
    }
}
