//! How fast the queue drains.

use std::time::Duration;

use headworks_shared::queue::Depth;
use tokio::time::Instant;

/// How fast the queue drains, in jobs a second: for all who put jobs on it, because it counts what leaves it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    last: Option<Look>,
    /// Unknown until there was enough to drain: an empty queue drains as fast as it is filled, whatever its processors could do.
    per_second: Option<f64>,
    jobs: usize,
}

#[derive(Clone, Copy, Debug)]
struct Look {
    at: Instant,
    jobs: usize,
    done: u64,
}

impl Pace {
    /// The pace after the queue was seen like this. With fewer than `enough` jobs to begin with, what was drained is the least that could
    /// have been.
    pub(super) fn next(self, now: Instant, depth: &Depth, enough: usize) -> Self {
        let look = Look { at: now, jobs: depth.jobs(), done: depth.done };
        let jobs = look.jobs;
        // A queue that counts from 0 again was lost, which drains nothing.
        let Some(last) = self.last.filter(|last| last.done <= look.done) else {
            return Self { last: Some(look), jobs, ..self };
        };
        let seconds = now.duration_since(last.at).as_secs_f64();
        if seconds < 0.2 {
            return Self { jobs, ..self };
        }
        let drained = f64::from(u32::try_from(look.done - last.done).unwrap_or(u32::MAX)) / seconds;
        let per_second = match self.per_second {
            known if last.jobs < enough => known.map(|before| before.max(drained)),
            None => Some(drained),
            // The last look counts for about a third, so that one slow batch does not send everybody away.
            Some(before) => Some(before * 0.7 + drained * 0.3),
        };
        Self { last: Some(look), per_second, jobs }
    }

    /// How long it takes until so many places are free: no time while the pace is unknown, and `None` while nothing drains.
    pub(super) fn time_to_free(self, places: usize) -> Option<Duration> {
        let Some(per_second) = self.per_second else { return Some(Duration::ZERO) };
        let places = f64::from(u32::try_from(places.min(self.jobs).max(1)).unwrap_or(u32::MAX));
        (per_second >= 0.1).then(|| Duration::from_secs_f64(places / per_second))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A queue of so many jobs in line, of which so many are done so far.
    pub(in super::super) fn of(jobs: usize, done: u64) -> Depth {
        Depth { ready: [0, jobs, 0], done, ..Depth::default() }
    }

    /// A queue that had 100 jobs and did 200 in a second.
    fn busy(start: Instant) -> Pace {
        Pace::default().next(start, &of(100, 1000), 10).next(start + SECOND, &of(50, 1200), 10)
    }

    #[tokio::test]
    async fn the_pace_is_what_all_put_on_it_and_is_done() {
        let start = Instant::now();
        let pace = busy(start);
        assert_eq!(pace.per_second, Some(200.0));
        assert_eq!(pace.time_to_free(50), Some(SECOND / 4));
        let stuck = (2..40).fold(pace, |pace, at| pace.next(start + SECOND * at, &of(50, 1200), 10));
        assert_eq!(stuck.time_to_free(30), None);
    }

    #[tokio::test]
    async fn an_empty_queue_says_nothing_about_how_fast_it_could_be() {
        let start = Instant::now();
        let idle = |pace: Pace, from: u32| {
            (from..from + 60).fold(pace, |pace, at| pace.next(start + SECOND * at, &of(0, 1250), 10))
        };
        let fresh = idle(Pace::default(), 0);
        assert_eq!(fresh.time_to_free(30), Some(Duration::ZERO), "nobody is sent away for long by a guess");
        assert_eq!(idle(busy(start), 2).per_second, Some(155.0), "what it did last, and not that it rests");
        let faster =
            busy(start).next(start + SECOND * 2, &of(0, 1250), 10).next(start + SECOND * 3, &of(0, 1750), 10);
        assert_eq!(faster.per_second, Some(500.0), "it can be as fast as it was seen to be");
    }

    #[tokio::test]
    async fn a_queue_that_was_lost_has_not_drained() {
        let start = Instant::now();
        let lost = busy(start).next(start + SECOND * 2, &of(0, 0), 10);
        assert_eq!(lost.per_second, Some(200.0));
        let again = lost.next(start + SECOND * 3, &of(100, 0), 10).next(start + SECOND * 4, &of(0, 100), 10);
        assert_eq!(again.per_second, Some(200.0 * 0.7 + 100.0 * 0.3));
    }
}
