//! How fast the queue drains.

use std::time::Duration;

use tokio::time::Instant;

/// How fast the queue drains, in jobs a second.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    last: Option<(Instant, usize, usize)>,
    /// Unknown until there was enough to drain: an empty queue drains as fast as it is filled, whatever its processors could do.
    per_second: Option<f64>,
    jobs: usize,
}

impl Pace {
    /// The pace after the queue was seen with so many jobs, when so many were put on it so far. With fewer than `enough` of them to begin
    /// with, what was drained is the least that could have been.
    pub(super) fn next(self, now: Instant, jobs: usize, spent: usize, enough: usize) -> Self {
        let Some((then, jobs_then, spent_then)) = self.last else {
            return Self { last: Some((now, jobs, spent)), jobs, ..self };
        };
        let seconds = now.duration_since(then).as_secs_f64();
        if seconds < 0.2 {
            return Self { jobs, ..self };
        }
        let drained = (spent - spent_then + jobs_then).saturating_sub(jobs);
        let drained = f64::from(u32::try_from(drained).unwrap_or(u32::MAX)) / seconds;
        let per_second = match self.per_second {
            known if jobs_then < enough => known.map(|before| before.max(drained)),
            None => Some(drained),
            // The last look counts for about a third, so that one slow batch does not send everybody away.
            Some(before) => Some(before * 0.7 + drained * 0.3),
        };
        Self { last: Some((now, jobs, spent)), per_second, jobs }
    }

    /// How long it takes until so many places are free: no time while the pace is unknown, and `None` while nothing drains.
    pub(super) fn time_to_free(self, places: usize) -> Option<Duration> {
        let Some(per_second) = self.per_second else { return Some(Duration::ZERO) };
        let places = f64::from(u32::try_from(places.min(self.jobs).max(1)).unwrap_or(u32::MAX));
        (per_second >= 0.1).then(|| Duration::from_secs_f64(places / per_second))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn the_pace_is_what_went_in_less_what_stayed() {
        let start = Instant::now();
        let pace = Pace::default().next(start, 100, 0, 10).next(start + SECOND, 50, 150, 10);
        assert_eq!(pace.per_second, Some(200.0));
        assert_eq!(pace.time_to_free(50), Some(SECOND / 4));
        let stuck = (2..40).fold(pace, |pace, at| pace.next(start + SECOND * at, 50, 150, 10));
        assert_eq!(stuck.time_to_free(30), None);
    }

    #[tokio::test]
    async fn an_empty_queue_says_nothing_about_how_fast_it_could_be() {
        let start = Instant::now();
        let idle = |pace: Pace, from: u32| {
            (from..from + 60).fold(pace, |pace, at| pace.next(start + SECOND * at, 0, 150, 10))
        };
        let fresh = idle(Pace::default(), 0);
        assert_eq!(fresh.time_to_free(30), Some(Duration::ZERO), "nobody is sent away for long by a guess");
        let busy = Pace::default().next(start, 100, 0, 10).next(start + SECOND, 50, 150, 10);
        assert_eq!(idle(busy, 2).per_second, Some(155.0), "what it did last, and not that it rests");
        let faster = busy.next(start + SECOND * 2, 0, 150, 10).next(start + SECOND * 3, 0, 650, 10);
        assert_eq!(faster.per_second, Some(500.0), "it can be as fast as it was seen to be");
    }
}
