//! Makes connections for a pool, and says which of them are still good.
//!
//! One that was used a moment ago is taken at its word: asking it first (`PING`) would double the round trips of every push. Since one
//! failure is seldom alone, none is trusted that was last used before the last failure.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use deadpool::managed::{self, Metrics, RecycleResult};
use deadpool_redis::{
    Manager,
    redis::{RedisError, aio::MultiplexedConnection},
};
use tokio::time::Instant;

/// How long a connection may have been idle without being asked.
const FRESH: Duration = Duration::from_secs(1);

/// The pool's manager.
#[derive(Debug)]
pub(super) struct Trusted {
    manager: Manager,
    begun: Instant,
    /// In ms since `begun`.
    failed: AtomicU64,
}

impl Trusted {
    pub(super) fn new(manager: Manager) -> Self {
        Self { manager, begun: Instant::now(), failed: AtomicU64::new(0) }
    }

    /// A connection broke: the others may have, too.
    pub(super) fn doubt(&self) {
        self.failed.store(self.now(), Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Whether a connection that was idle for so long need not be asked.
    fn trusts(&self, idle: Duration) -> bool {
        let used = self.begun.elapsed().saturating_sub(idle);
        // A failure in the same millisecond came after.
        idle < FRESH && used.as_millis() > u128::from(self.failed.load(Ordering::Relaxed))
    }
}

impl managed::Manager for Trusted {
    type Type = MultiplexedConnection;
    type Error = RedisError;

    async fn create(&self) -> Result<MultiplexedConnection, RedisError> {
        self.manager.create().await
    }

    async fn recycle(
        &self,
        connection: &mut MultiplexedConnection,
        metrics: &Metrics,
    ) -> RecycleResult<RedisError> {
        if self.trusts(metrics.last_used()) {
            return Ok(());
        }
        self.manager.recycle(connection, metrics).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn trust_ends_with_a_failure_and_with_time() {
        let trusted = Trusted::new(Manager::new("redis://127.0.0.1:1").unwrap());
        let (moment, long) = (Duration::from_millis(100), FRESH);
        tokio::time::advance(Duration::from_secs(5)).await;
        assert!(trusted.trusts(moment) && !trusted.trusts(long));
        trusted.doubt();
        assert!(!trusted.trusts(Duration::ZERO) && !trusted.trusts(moment));
        tokio::time::advance(moment).await;
        assert!(trusted.trusts(moment / 2) && !trusted.trusts(moment * 2));
    }
}
