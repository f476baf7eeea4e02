//! How often something is tried again, and after what wait.

use std::time::Duration;

use tokio::time::Instant;

use super::PATIENCE;
use crate::resilience::Retries;

/// Tries after the first one.
pub(super) const AGAIN: u32 = 3;

/// The longest first wait, and the longest of all.
pub(super) const FIRST: Duration = Duration::from_millis(50);
pub(super) const LONGEST: Duration = Duration::from_secs(2);

/// Waits with full jitter, each up to four times as long as the one before could be: those who failed together do not come back together.
#[derive(Debug)]
pub(super) struct Backoff<'a> {
    waited: u32,
    begun: Instant,
    retries: &'a Retries,
}

impl<'a> Backoff<'a> {
    /// Nothing was waited for yet.
    pub(super) fn new(retries: &'a Retries) -> Self {
        Self { waited: 0, begun: Instant::now(), retries }
    }

    /// The next wait; `None` when it was tried often or long enough.
    pub(super) fn next(&mut self) -> Option<Duration> {
        if self.waited >= AGAIN || self.begun.elapsed() > PATIENCE {
            return None;
        }
        let most = (FIRST * 4_u32.pow(self.waited)).min(LONGEST);
        self.waited += 1;
        self.retries.again();
        Some(most.mul_f64(fastrand::f64()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_tried_again_a_few_times_with_waits_within_bounds() {
        let retries = Retries::default();
        let mut backoff = Backoff::new(&retries);
        let waits: Vec<_> = std::iter::from_fn(|| backoff.next()).collect();
        assert_eq!(waits.len(), 3);
        for (wait, most) in waits.iter().zip([50, 200, 800]) {
            assert!(*wait <= Duration::from_millis(most), "{wait:?}");
        }
        let mut late = Backoff::new(&retries);
        tokio::time::advance(PATIENCE * 2).await;
        assert_eq!(late.next(), None);
    }
}
