//! The line of those who were refused: each is called back behind the one before it, and not all at once.
//!
//! No place is kept for who may never come back, so a refusal can only tell a time. Told the same one, thousands would come together,
//! be refused together, and take from the uploads in flight what a refusal costs. So the times that are told follow each other at a pace
//! that is moved by what becomes of those who come: in a second in which more than one in eight was refused it is halved, else doubled;
//! one in which nobody came says nothing. A few are always refused then, so no place stays empty for want of callers, and a refusal's
//! cost stays small beside an upload's. Clients are told whole seconds, so those who were refused in one moment come back in as many
//! small crowds as the line is seconds long.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// The first in line is called after this: `Retry-After` has no less.
const SOONEST: Duration = Duration::from_secs(1);

/// The end of the line: those for whom it would be longer are called here. What is told cannot be taken back when places come free sooner.
const LATEST: Duration = Duration::from_secs(10);

/// One in so many who come may be refused: at about a fifth of an upload's cost each, they take some 3 % of the work.
const REFUSED_ONE_IN: u64 = 8;

/// The slowest pace is so small a part of the usual one, and the fastest so many times as much: four seconds from either it is usual again.
const SPAN: f64 = 16.0;

/// The line.
#[derive(Debug)]
pub(crate) struct Line {
    /// Calls a second, while nobody knows better.
    usual: f64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    per_second: f64,
    /// The last in line is called before this.
    ends: Instant,
    taken: u64,
    refused: u64,
}

impl Line {
    /// A line of a house with so many places: an upload is taken to last about a second.
    pub(super) fn new(places: usize) -> Self {
        let usual = f64::from(u32::try_from(places.max(1)).unwrap_or(u32::MAX));
        let state = State { per_second: usual, ends: Instant::now(), taken: 0, refused: 0 };
        Self { usual, state: Mutex::new(state) }
    }

    /// Somebody was let in.
    pub(super) fn taken(&self) {
        self.state().taken += 1;
    }

    /// Puts who is refused at the end of the line, and says when it is called: after 1 to 10 s.
    pub(crate) fn refused(&self, now: Instant) -> Duration {
        let mut state = self.state();
        state.refused += 1;
        let called = state.ends.clamp(now + SOONEST, now + LATEST);
        state.ends = called + Duration::from_secs_f64(state.per_second.recip());
        called - now
    }

    /// Moves the pace by what has happened since the last time; to be called once a second.
    pub(crate) fn look(&self, now: Instant) {
        let state = &mut *self.state();
        let (taken, refused) = (std::mem::take(&mut state.taken), std::mem::take(&mut state.refused));
        state.per_second = if state.ends <= now {
            self.usual
        } else if taken + refused == 0 {
            // Nobody came, which says nothing.
            return;
        } else if refused.saturating_mul(REFUSED_ONE_IN) > taken + refused {
            (state.per_second / 2.0).max(self.usual / SPAN)
        } else {
            (state.per_second * 2.0).min(self.usual * SPAN)
        };
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls(line: &Line, count: usize, now: Instant) -> Vec<f64> {
        (0..count).map(|_| line.refused(now).as_secs_f64()).collect()
    }

    #[tokio::test]
    async fn those_who_are_refused_together_are_called_one_after_the_other() {
        let (line, now) = (Line::new(2), Instant::now());
        assert_eq!(calls(&line, 4, now), [1.0, 1.5, 2.0, 2.5]);
        assert_eq!(calls(&line, 2, now + Duration::from_millis(500)), [2.5, 3.0]);
        let later = now + Duration::from_secs(60);
        assert_eq!(calls(&line, 2, later), [1.0, 1.5], "nobody is in line any more");
        assert_eq!(calls(&line, 100, later).last(), Some(&10.0), "the end of the line");
    }

    #[tokio::test]
    async fn while_most_are_refused_they_are_called_at_half_the_pace_and_else_at_twice() {
        let (line, now) = (Line::new(4), Instant::now());
        let step = |taken, refused| {
            (0..taken).for_each(|_| line.taken());
            calls(&line, refused, now);
            line.look(now);
            line.state().per_second
        };
        assert_eq!([step(0, 8), step(6, 1), step(8, 1), step(100, 0)], [2.0, 1.0, 2.0, 4.0]);
        line.look(now + Duration::from_secs(60));
        assert_eq!(line.state().per_second, 4.0);
    }

    #[tokio::test]
    async fn the_pace_never_stands_still_or_runs_away() {
        let (line, now) = (Line::new(1), Instant::now());
        for _ in 0..100 {
            calls(&line, 1000, now);
            line.look(now);
        }
        assert_eq!(line.state().per_second, 1.0 / 16.0);
        assert!((1.0..=10.0).contains(&line.refused(now).as_secs_f64()));
        line.look(now);
        assert_eq!(line.state().per_second, 1.0 / 16.0, "nobody came");
        for _ in 0..100 {
            line.taken();
            line.look(now);
        }
        assert_eq!(line.state().per_second, 16.0);
    }
}
