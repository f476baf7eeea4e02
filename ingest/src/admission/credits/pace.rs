//! How fast the queue drains.

use std::time::Duration;

use tokio::time::Instant;

/// How fast the queue drains, in jobs a second.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    last: Option<(Instant, usize, usize)>,
    per_second: f64,
    jobs: usize,
}

impl Pace {
    /// The pace after the queue was seen with so many jobs, when so many were put on it so far.
    pub(super) fn next(self, now: Instant, jobs: usize, spent: usize) -> Self {
        let Some((then, jobs_then, spent_then)) = self.last else {
            return Self { last: Some((now, jobs, spent)), jobs, ..self };
        };
        let seconds = now.duration_since(then).as_secs_f64();
        if seconds < 0.2 {
            return Self { jobs, ..self };
        }
        let drained = (spent - spent_then + jobs_then).saturating_sub(jobs);
        let drained = f64::from(u32::try_from(drained).unwrap_or(u32::MAX)) / seconds;
        // The last second counts for about a third, so that one slow batch does not send everybody away.
        Self { last: Some((now, jobs, spent)), per_second: self.per_second * 0.7 + drained * 0.3, jobs }
    }

    /// How long it takes until so many places are free; unknown while nothing drains.
    pub(super) fn time_to_free(self, places: usize) -> Option<Duration> {
        let places = f64::from(u32::try_from(places.min(self.jobs).max(1)).unwrap_or(u32::MAX));
        (self.per_second >= 0.1).then(|| Duration::from_secs_f64(places / self.per_second))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_pace_is_what_went_in_less_what_stayed() {
        let start = Instant::now();
        let pace = Pace::default().next(start, 100, 0).next(start + Duration::from_secs(1), 50, 150);
        assert_eq!(pace.per_second, 60.0);
        assert_eq!(pace.time_to_free(30), Some(Duration::from_millis(500)));
        assert_eq!(Pace::default().time_to_free(30), None);
    }
}
