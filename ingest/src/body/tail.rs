//! What is behind a body's last byte: the time that belongs to storage alone.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::time::Instant;

/// What storage may have left to do in a second, in bytes: an object of many GB takes longer to be synced, or to be put together of
/// its parts, than a small one.
const BYTES_A_SECOND: u64 = 64 << 20;

/// When a body ended, for who waits for what comes after it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tail(Arc<OnceLock<(Instant, u64)>>);

impl Tail {
    /// The last byte came, of so many.
    pub(super) fn begin(&self, bytes: u64) {
        // A body ends once.
        let _ = self.0.set((Instant::now(), bytes));
    }

    /// When the last byte came.
    pub(crate) fn began(&self) -> Option<Instant> {
        self.0.get().map(|(at, _)| *at)
    }

    /// Whether storage takes longer than this, and longer than so many bytes may take.
    pub(crate) fn is_late(&self, within: Duration) -> bool {
        let of_bytes = |bytes| Duration::from_secs(bytes / BYTES_A_SECOND);
        self.0.get().is_some_and(|(at, bytes)| at.elapsed() >= within + of_bytes(*bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_what_comes_behind_the_last_byte_counts_and_much_may_take_longer() {
        let second = Duration::from_secs(1);
        let (small, large) = (Tail::default(), Tail::default());
        tokio::time::advance(60 * second).await;
        assert!(!small.is_late(second), "the client may take its time");
        small.begin(1 << 20);
        large.begin(4 << 30);
        tokio::time::advance(second).await;
        assert_eq!((small.is_late(second), large.is_late(second)), (true, false));
        tokio::time::advance(64 * second).await;
        assert!(large.is_late(second));
    }
}
