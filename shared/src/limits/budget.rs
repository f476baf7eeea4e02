//! The byte budget: every byte of a body that is buffered in user space is leased first.
//!
//! It bounds memory by construction. Who gets no lease does not read, so TCP pushes back on the client.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tracing::{info, warn};

/// Leases are counted in units of 1 KiB, so that the count fits a semaphore.
const UNIT: usize = 1024;

/// The bytes of bodies that a process may buffer, over all uploads.
#[derive(Clone, Debug)]
pub struct Budget {
    units: Arc<Semaphore>,
    limit: usize,
    /// Whether nothing is leased for now, however much there is.
    held: Arc<watch::Sender<bool>>,
}

impl Budget {
    /// A budget of `bytes`, rounded up to a whole KiB.
    pub fn new(bytes: usize) -> Self {
        let limit = bytes.div_ceil(UNIT).clamp(1, Semaphore::MAX_PERMITS);
        Self { units: Arc::new(Semaphore::new(limit)), limit, held: Arc::new(watch::Sender::new(false)) }
    }

    /// Leases nothing more until [`Self::release`]: memory is so short that streams in flight must stop reading.
    pub fn hold(&self) {
        if !self.held.send_replace(true) {
            warn!("uploads in flight are held: memory is nearly gone");
        }
    }

    /// Leases again.
    pub fn release(&self) {
        if self.held.send_replace(false) {
            info!("uploads in flight go on");
        }
    }

    /// Waits until something is leased again: for who buffers nothing, but must not go on while memory is so short. The caller sets
    /// the deadline.
    pub async fn released(&self) {
        if *self.held.borrow() {
            // Its sender is ours, so the wait ends with what it waits for.
            drop(self.held.subscribe().wait_for(|held| !held).await);
        }
    }

    /// Waits for the right to buffer `bytes` (at most the whole budget); first come, first served. The caller sets the deadline.
    pub async fn lease(&self, bytes: usize) -> Leased {
        let units = u32::try_from(bytes.div_ceil(UNIT).clamp(1, self.limit)).unwrap_or(u32::MAX);
        self.released().await;
        // The semaphore is never closed; without a permit the lease would only be unaccounted.
        let permit = Arc::clone(&self.units).acquire_many_owned(units).await.ok();
        Leased { permit, units: Arc::clone(&self.units), held: Arc::clone(&self.held) }
    }

    /// The most bytes that may be leased.
    pub fn limit_bytes(&self) -> usize {
        self.limit * UNIT
    }

    /// The bytes leased now.
    pub fn used_bytes(&self) -> usize {
        self.limit.saturating_sub(self.units.available_permits()) * UNIT
    }
}

/// The right to buffer some bytes; gives itself back when dropped.
#[derive(Debug)]
pub struct Leased {
    permit: Option<OwnedSemaphorePermit>,
    units: Arc<Semaphore>,
    held: Arc<watch::Sender<bool>>,
}

impl Leased {
    /// How many bytes it is good for.
    pub fn bytes(&self) -> usize {
        self.permit.as_ref().map_or(0, |permit| permit.num_permits() * UNIT)
    }

    /// Makes it good for `bytes` more, if they are to be had at once.
    pub fn grow(&mut self, bytes: usize) -> bool {
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        if *self.held.borrow() {
            return false;
        }
        let Ok(more) = Arc::clone(&self.units).try_acquire_many_owned(units) else { return false };
        match &mut self.permit {
            Some(permit) => permit.merge(more),
            None => self.permit = Some(more),
        }
        true
    }

    /// Makes it good for what another lease of the same budget is good for too.
    pub fn merge(&mut self, mut other: Self) {
        match (&mut self.permit, other.permit.take()) {
            (Some(permit), Some(more)) => permit.merge(more),
            (permit, more) => *permit = permit.take().or(more),
        }
    }

    /// Gives back what is above `bytes`.
    pub fn shrink(&mut self, bytes: usize) {
        if let Some(permit) = &mut self.permit {
            let surplus = permit.num_permits().saturating_sub(bytes.div_ceil(UNIT));
            drop(permit.split(surplus));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn nobody_buffers_more_than_the_budget() {
        let budget = Budget::new(4096);
        let mut first = budget.lease(3000).await;
        assert_eq!((first.bytes(), budget.used_bytes()), (3072, 3072));
        assert!(tokio::time::timeout(Duration::from_secs(1), budget.lease(2048)).await.is_err());
        first.shrink(100);
        assert_eq!(budget.used_bytes(), 1024);
        let second = budget.lease(1 << 30).now_or_never();
        assert!(second.is_none(), "more than the budget waits for the whole of it");
        let more = budget.lease(1000).await;
        first.merge(more);
        assert_eq!((first.bytes(), budget.used_bytes()), (2048, 2048), "a merged lease is both");
        drop(first);
        budget.hold();
        assert!(budget.lease(1).now_or_never().is_none(), "nothing is leased while it is held");
        assert!(budget.released().now_or_never().is_none());
        budget.release();
        assert_eq!(budget.lease(1 << 30).await.bytes(), budget.limit_bytes());
        assert_eq!(budget.used_bytes(), 0);
    }
}
