//! Work on the spot, by the thread that asks for it. While nobody waits for a disk, to write is to copy within memory, and handing it to
//! another thread costs more than that.
//!
//! It may be otherwise without notice: the kernel makes writers wait when too much is unwritten, and a disk can hang. All that its
//! thread has to do waits then too, so one of the runtime's threads never is on the spot, and for a while after
//! someone took long, nobody is. Who finds no place and has a piece of a body in hand goes to another thread: to wait with it cost a
//! thousand uploads of 1 MiB a third of their throughput and half as much memory again. Who has read nothing yet may wait.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, timeout},
};

/// What takes longer has waited for a disk; for a core one waits less, also on a crowded machine.
const LONG: Duration = Duration::from_millis(100);

/// How long nobody is on the spot after that.
const REST: Duration = Duration::from_secs(10);

/// How long a place is waited for. A thousand who pass on what has come take a fifth of it in all.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whether work may be done on the spot.
#[derive(Debug)]
pub(super) struct Spot {
    places: Semaphore,
    rests_until: Mutex<Option<Instant>>,
}

impl Spot {
    /// In a runtime of so many threads; with a single one nothing is done on the spot.
    pub(super) fn new(threads: usize) -> Option<Self> {
        let places = threads.checked_sub(1).filter(|places| *places > 0)?;
        Some(Self { places: Semaphore::new(places), rests_until: Mutex::default() })
    }

    /// Does the work, or gives it back when it is not to be done here.
    ///
    /// # Errors
    /// The work.
    pub(super) fn try_do<T, W: FnOnce() -> T>(&self, work: W) -> Result<T, W> {
        let Some(_place) = self.enter() else { return Err(work) };
        Ok(work())
    }

    /// A place, as long as it is kept, if there is one.
    pub(super) fn enter(&self) -> Option<Place<'_>> {
        let begun = Instant::now();
        if self.rests(begun) {
            return None;
        }
        Some(Place { _permit: self.places.try_acquire().ok()?, spot: self, begun })
    }

    /// Waits for a place, of those who came before; none where that takes too long, or nobody is to be here.
    pub(super) async fn wait(&self) -> Option<Place<'_>> {
        if self.rests(Instant::now()) {
            return None;
        }
        let permit = match self.places.try_acquire() {
            Ok(permit) => permit,
            Err(_) => timeout(PATIENCE, self.places.acquire()).await.ok()?.ok()?,
        };
        let begun = Instant::now();
        // Somebody may have taken long meanwhile.
        (!self.rests(begun)).then_some(Place { _permit: permit, spot: self, begun })
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

/// A place on the spot; how long it was kept counts.
#[derive(Debug)]
pub(super) struct Place<'a> {
    _permit: SemaphorePermit<'a>,
    spot: &'a Spot,
    begun: Instant,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.spot.took(self.begun, self.begun.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thread_is_never_on_the_spot() {
        let spot = Spot::new(3).unwrap();
        let second = || spot.try_do(|| spot.try_do(|| ()).is_ok()).ok();
        assert_eq!(spot.try_do(second).ok(), Some(Some(false)), "two are, and the third is not");
        assert_eq!(spot.try_do(second).ok(), Some(Some(false)), "and they leave");
        assert!(Spot::new(1).is_none(), "one thread has all to do");
    }

    #[test]
    fn nobody_is_for_a_while_after_one_that_took_long() {
        let (spot, begun) = (Spot::new(2).unwrap(), Instant::now());
        spot.took(begun, LONG);
        assert!(!spot.rests(begun + LONG));
        spot.took(begun, 2 * LONG);
        let over = begun + 2 * LONG + REST;
        assert!(spot.rests(over - Duration::from_millis(1)) && !spot.rests(over));
        assert!(spot.try_do(|| ()).is_err());
    }
}
