//! How many uploads may be in flight: as many as the settings allow while storage keeps up, fewer while it does not.
//!
//! Additive increase, multiplicative decrease, as TCP does it (RFC 5681): where storage was late or failed once in ten times, what is in
//! flight is halved; else each second adds a 16th of the whole. What is late shows only when it comes back, so after a cut no other is
//! made for as long as storage has. So a store that slows down has about as many uploads waiting for it as it gets done in that time,
//! and not all that may be. Only what is behind an upload's last byte is measured: all before it also waits for the client, or for
//! room in memory.

use std::{
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use headworks_shared::{config::settings::Limits, storage::PutError};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout},
};
use tracing::{info, warn};

use crate::body::Tail;

/// The part of the whole by which a good second raises the limit.
const STEPS: usize = 16;

/// One in so many may be late.
const LATE_ONE_IN: u32 = 10;

/// The bounds of the limit, and what storage may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// The fewest uploads in flight.
    pub(crate) least: usize,
    /// The most.
    pub(crate) most: usize,
    /// How long storage may take behind the last byte of a small upload.
    pub(crate) within: Duration,
}

impl From<&Limits> for Bounds {
    fn from(limits: &Limits) -> Self {
        Self { least: limits.streams_min, most: limits.streams, within: limits.store_within.0 }
    }
}

/// The turns of uploads.
#[derive(Debug)]
pub(crate) struct Streams {
    bounds: Bounds,
    turns: Arc<Semaphore>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    limit: usize,
    /// Turns that are given already and must not come back.
    owed: usize,
    tally: Tally,
    /// What of it was there when it was looked at last: too few to say anything.
    looked_at: u32,
    cut_at: Option<Instant>,
}

/// How storage did, since it was looked at last.
#[derive(Clone, Copy, Default, Debug)]
struct Tally {
    in_time: u32,
    late: u32,
}

impl State {
    /// The tally, to be judged. Too few of whom one was late say nothing yet: they wait for more, and are forgotten when none comes.
    fn taken(&mut self) -> Option<Tally> {
        let (count, late) = (self.tally.count(), self.tally.late);
        let more_come = count > self.looked_at;
        if late > 0 && count < LATE_ONE_IN && more_come {
            self.looked_at = count;
            return None;
        }
        self.looked_at = 0;
        let tally = std::mem::take(&mut self.tally);
        Some(if late > 0 && count < LATE_ONE_IN { Tally::default() } else { tally })
    }
}

impl Tally {
    fn count(self) -> u32 {
        self.in_time.saturating_add(self.late)
    }
}

/// An upload's turn, until it is answered.
#[derive(Debug)]
pub(crate) struct Turn {
    permit: Option<OwnedSemaphorePermit>,
    streams: Arc<Streams>,
}

impl Streams {
    pub(crate) fn new(bounds: Bounds) -> Arc<Self> {
        let most = bounds.most.min(Semaphore::MAX_PERMITS);
        let tally = Tally::default();
        let state = State { limit: most, owed: 0, tally, looked_at: 0, cut_at: None };
        let bounds = Bounds { most, least: bounds.least.min(most), ..bounds };
        Arc::new(Self { bounds, turns: Arc::new(Semaphore::new(most)), state: Mutex::new(state) })
    }

    /// Waits for a turn; first come, first served.
    pub(crate) async fn turn(self: &Arc<Self>) -> Turn {
        // The semaphore is never closed.
        let permit = Arc::clone(&self.turns).acquire_owned().await.ok();
        Turn { permit, streams: Arc::clone(self) }
    }

    /// Waits for a put, and counts how storage does; as late also while it is at it.
    pub(crate) async fn watch<T>(
        &self,
        tail: &Tail,
        put: impl Future<Output = Result<T, PutError>>,
    ) -> Result<T, PutError> {
        let mut put = pin!(put);
        loop {
            let ended = timeout(self.bounds.within, put.as_mut()).await;
            let late = tail.is_late(self.bounds.within);
            match ended {
                Ok(Err(PutError::Unavailable { .. })) => self.count(true),
                Ok(Err(PutError::Body(_) | PutError::Full)) => {}
                Ok(_) => self.count(late),
                Err(_) if late => self.count(true),
                Err(_) => {}
            }
            if let Ok(ended) = ended {
                return ended;
            }
        }
    }

    fn count(&self, late: bool) {
        let Tally { in_time: yes, late: no } = &mut self.state().tally;
        let counted = if late { no } else { yes };
        *counted = counted.saturating_add(1);
    }

    /// Moves the limit by what has happened since the last time; to be called once a second. Answers with the limit.
    pub(crate) fn look(&self, now: Instant) -> usize {
        let state = &mut *self.state();
        let (tally, before) = (state.taken(), state.limit);
        let recent = state.cut_at.is_some_and(|at| now.duration_since(at) < self.bounds.within);
        state.limit = match tally {
            Some(tally) if !recent => {
                let in_flight = (before + state.owed).saturating_sub(self.turns.available_permits());
                next(self.bounds, before, in_flight, tally)
            }
            _ => before,
        };
        if state.limit < before {
            state.cut_at = Some(now);
            let cut = before - state.limit;
            state.owed += cut - self.turns.forget_permits(cut);
        } else {
            let more = state.limit - before;
            let kept = more.min(state.owed);
            state.owed -= kept;
            self.turns.add_permits(more - kept);
        }
        tell(self.bounds, before, state.limit, tally.unwrap_or_default());
        state.limit
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let state = &mut *self.streams.state();
        if state.owed > 0
            && let Some(permit) = self.permit.take()
        {
            state.owed -= 1;
            permit.forget();
        }
    }
}

/// The limit after a second.
fn next(bounds: Bounds, limit: usize, in_flight: usize, tally: Tally) -> usize {
    if tally.late > 0 && tally.late.saturating_mul(LATE_ONE_IN) >= tally.count() {
        (limit.min(in_flight) / 2).clamp(bounds.least, limit)
    } else {
        limit.saturating_add(bounds.most.div_ceil(STEPS)).min(bounds.most)
    }
}

/// Once when it begins, and once when it is over.
fn tell(bounds: Bounds, before: usize, limit: usize, Tally { in_time, late }: Tally) {
    if limit < before && before == bounds.most {
        warn!(limit, within = ?bounds.within, late, in_time, "storage is slow or fails, fewer uploads are let in");
    } else if limit == bounds.most && before < limit {
        info!(limit, "storage keeps up again");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { least: 4, most: 64, within: Duration::from_secs(5) };
    const LATE: Tally = Tally { in_time: 9, late: 1 };
    const GOOD: Tally = Tally { in_time: 10, late: 1 };

    #[test]
    fn one_late_in_ten_halves_what_is_in_flight_but_not_below_the_least() {
        assert_eq!(next(BOUNDS, 64, 40, LATE), 20);
        assert_eq!(next(BOUNDS, 20, 40, LATE), 10);
        assert_eq!(next(BOUNDS, 64, 1, LATE), 4);
        assert_eq!(next(BOUNDS, 4, 4, LATE), 4);
    }

    #[test]
    fn each_good_second_adds_as_much_up_to_the_most() {
        assert_eq!(next(BOUNDS, 20, 20, GOOD), 24);
        assert_eq!(next(BOUNDS, 63, 20, Tally::default()), 64);
    }

    #[tokio::test(start_paused = true)]
    async fn a_few_say_nothing_and_are_forgotten_when_no_more_come() {
        let streams = Streams::new(BOUNDS);
        let look = async |late| {
            (0..late).for_each(|_| streams.count(true));
            streams.look(Instant::now())
        };
        assert_eq!([look(5).await, look(4).await, look(0).await, look(9).await], [64; 4]);
        assert_eq!(look(1).await, 4, "ten in all, with nobody in flight");
        assert_eq!(look(10).await, 4, "what is late now was let in before the cut");
        tokio::time::advance(BOUNDS.within).await;
        assert_eq!([look(3).await, look(0).await, look(0).await], [4, 8, 12]);
    }

    #[tokio::test(start_paused = true)]
    async fn turns_that_are_out_are_kept_back_when_they_return() {
        let streams = Streams::new(Bounds { least: 1, most: 4, ..BOUNDS });
        let mut turns = Vec::new();
        for _ in 0..4 {
            turns.push(streams.turn().await);
        }
        (0..LATE_ONE_IN).for_each(|_| streams.count(true));
        assert_eq!(streams.look(Instant::now()), 2);
        let another = || timeout(Duration::from_secs(1), streams.turn());
        turns.truncate(2);
        assert!(another().await.is_err(), "two are in flight, and two may be");
        turns.truncate(1);
        let second = another().await.unwrap();
        assert!(another().await.is_err());
        tokio::time::advance(BOUNDS.within).await;
        assert_eq!([(); 3].map(|()| streams.look(Instant::now())), [3, 4, 4]);
        let rest = [another().await.unwrap(), another().await.unwrap()];
        assert!(another().await.is_err(), "the most is the most");
        drop((rest, second, turns));
        assert_eq!(streams.turns.available_permits(), 4);
    }
}
