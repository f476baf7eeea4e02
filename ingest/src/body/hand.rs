//! How long storage has had what it was given: the bytes of a chunk, the end of a body, or the task as a whole.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

/// What storage has in hand of one upload; the time in which it waits for the client does not count.
#[derive(Clone, Debug)]
pub(crate) struct Hand {
    begun: Instant,
    /// Since when it has something, in µs from `begun`, plus one; 0 while it has nothing.
    since: Arc<AtomicU64>,
}

impl Hand {
    /// It has just been asked.
    pub(crate) fn new() -> Self {
        Self { begun: Instant::now(), since: Arc::new(AtomicU64::new(1)) }
    }

    /// It was given something.
    pub(super) fn give(&self) {
        self.since.store(self.micros().saturating_add(1), Ordering::Relaxed);
    }

    /// It asks for more.
    pub(super) fn take(&self) {
        self.since.store(0, Ordering::Relaxed);
    }

    /// For how long it has had what it has.
    pub(crate) fn held(&self) -> Duration {
        match self.since.load(Ordering::Relaxed).checked_sub(1) {
            Some(since) => Duration::from_micros(self.micros().saturating_sub(since)),
            None => Duration::ZERO,
        }
    }

    fn micros(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn only_what_is_in_hand_counts() {
        let hand = Hand::new();
        tokio::time::advance(S).await;
        assert_eq!(hand.held(), S);
        hand.take();
        tokio::time::advance(S).await;
        assert_eq!(hand.held(), Duration::ZERO);
        hand.give();
        tokio::time::advance(2 * S).await;
        assert_eq!(hand.held(), 2 * S);
    }
}
