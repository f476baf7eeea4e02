//! Work on the spot, by the thread that asks for it. While nobody waits for a disk, to write is to copy within memory, and handing it to
//! another thread costs more than that.
//!
//! It may be otherwise without notice: the kernel makes writers wait when too much is unwritten, and a disk can hang. All that its
//! thread has to do waits then too, so no more than half of the runtime's threads are on the spot at once, and for a while after
//! someone took long, nobody is. Who finds no place goes to another thread: to wait for one instead cost a thousand uploads of 1 MiB a third
//! of their throughput and half as much memory again, because each waits with what it has read.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::Semaphore, time::Instant};

/// What takes longer has waited for a disk; for a core one waits less, also on a crowded machine.
const LONG: Duration = Duration::from_millis(100);

/// How long nobody is on the spot after that.
const REST: Duration = Duration::from_secs(10);

/// Whether work may be done on the spot.
#[derive(Debug)]
pub(super) struct Spot {
    places: Semaphore,
    rests_until: Mutex<Option<Instant>>,
}

impl Spot {
    /// In a runtime of so many threads; with a single one nothing is done on the spot.
    pub(super) fn new(threads: usize) -> Self {
        Self { places: Semaphore::new(threads / 2), rests_until: Mutex::default() }
    }

    /// Does the work, or gives it back when it is not to be done here.
    ///
    /// # Errors
    /// The work.
    pub(super) fn try_do<T, W: FnOnce() -> T>(&self, work: W) -> Result<T, W> {
        let begun = Instant::now();
        if self.rests(begun) {
            return Err(work);
        }
        let Ok(_place) = self.places.try_acquire() else { return Err(work) };
        let done = work();
        self.took(begun, begun.elapsed());
        Ok(done)
    }

    fn rests(&self, now: Instant) -> bool {
        self.rests_until.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|until| now < until)
    }

    fn took(&self, begun: Instant, time: Duration) {
        if time > LONG {
            *self.rests_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(begun + time + REST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_threads_are_on_the_spot_at_once() {
        let spot = Spot::new(5);
        let second = || spot.try_do(|| spot.try_do(|| ()).is_ok()).ok();
        assert_eq!(spot.try_do(second).ok(), Some(Some(false)), "two are, and the third is not");
        assert_eq!(spot.try_do(second).ok(), Some(Some(false)), "and they leave");
        assert!(Spot::new(1).try_do(|| ()).is_err(), "one thread has all to do");
    }

    #[test]
    fn nobody_is_for_a_while_after_one_that_took_long() {
        let (spot, begun) = (Spot::new(2), Instant::now());
        spot.took(begun, LONG);
        assert!(!spot.rests(begun + LONG));
        spot.took(begun, 2 * LONG);
        let over = begun + 2 * LONG + REST;
        assert!(spot.rests(over - Duration::from_millis(1)) && !spot.rests(over));
        assert!(spot.try_do(|| ()).is_err());
    }
}
