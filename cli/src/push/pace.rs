//! How hard a server is pressed: the tries of all streams go through here.
//!
//! Two kinds of "not now" ask for two answers. A server with too many uploads in flight (`streams`) is fine with those that it has, so the
//! number of tries at once comes down to that, and goes up again slowly. Every other refusal is about the server as a whole (memory,
//! disk, queue, a pause, a limit of a proxy), so nobody begins anything before the time that it named.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use super::answer::STREAMS;

/// How many tries may be under way at once. No clock: it is moved by what servers answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Window {
    open: usize,
    most: usize,
    under_way: usize,
    /// Uploads that were taken since the window was last moved.
    taken: usize,
}

impl Window {
    fn new(most: usize) -> Self {
        Self { open: most, most, under_way: 0, taken: 0 }
    }

    fn enter(&mut self) -> bool {
        let may = self.under_way < self.open;
        self.under_way += usize::from(may);
        may
    }

    fn leave(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }

    /// There were too many: those that are left besides the refused one are what the server can bear.
    fn refused(&mut self) {
        self.open = self.open.min(self.under_way.saturating_sub(1)).max(1);
        self.taken = 0;
    }

    /// An upload was taken. After a window full of them it opens by an eighth.
    fn accepted(&mut self) {
        self.taken += 1;
        if self.taken >= self.open {
            self.taken = 0;
            self.open = (self.open + (self.open / 8).max(1)).min(self.most);
        }
    }
}

/// The window, and the moment before which nobody begins.
#[derive(Debug)]
pub(super) struct Pace {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug)]
struct State {
    window: Window,
    not_before: Instant,
    /// When the server last took something.
    moved: Instant,
}

impl Pace {
    /// At most so many tries at once.
    pub(super) fn new(most: usize) -> Self {
        let now = Instant::now();
        let state = State { window: Window::new(most), not_before: now, moved: now };
        Self { state: Mutex::new(state), changed: Notify::new() }
    }

    /// Waits until a try may begin. It ends when the turn is dropped.
    pub(super) async fn turn(&self) -> Turn<'_> {
        loop {
            let changed = self.changed.notified();
            let not_before = {
                let mut state = self.state();
                if state.not_before <= Instant::now() {
                    if state.window.enter() {
                        return Turn { pace: self };
                    }
                    None
                } else {
                    Some(state.not_before)
                }
            };
            match not_before {
                Some(moment) => sleep_until(moment).await,
                None => changed.await,
            }
        }
    }

    /// The server took a part of a file.
    pub(super) fn took(&self) {
        self.state().moved = Instant::now();
    }

    /// When the server last took something of any file.
    pub(super) fn moved(&self) -> Instant {
        self.state().moved
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to one try.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    pace: &'a Pace,
}

impl Turn<'_> {
    /// The server took the upload.
    pub(super) fn accepted(self) {
        let mut state = self.pace.state();
        state.window.accepted();
        state.moved = Instant::now();
    }

    /// The server said "not now".
    pub(super) fn refused(self, reason: Option<&str>, wait: Duration) {
        let mut state = self.pace.state();
        if reason == Some(STREAMS) {
            state.window.refused();
        } else {
            state.not_before = state.not_before.max(Instant::now() + wait);
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.pace.state().window.leave();
        // One place is free, or several: who finds none waits again.
        self.pace.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_comes_down_to_what_the_server_bears_and_goes_up_again() {
        let mut window = Window::new(32);
        assert_eq!((0..40).filter(|_| window.enter()).count(), 32);
        for _ in 0..28 {
            window.refused();
            window.leave();
        }
        assert_eq!((window.open, window.under_way), (4, 4));
        assert!(!window.enter());
        (0..4).for_each(|_| window.accepted());
        assert_eq!(window.open, 5);
        (0..1000).for_each(|_| window.accepted());
        assert_eq!(window.open, 32, "never more than was asked for");
    }

    #[test]
    fn one_try_is_always_allowed() {
        let mut window = Window::new(2);
        assert!(window.enter());
        window.refused();
        window.leave();
        assert!(window.enter() && !window.enter());
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_of_the_whole_server_holds_everybody_back() {
        let (pace, begin) = (Pace::new(4), Instant::now());
        pace.turn().await.refused(Some("memory"), Duration::from_secs(7));
        pace.turn().await.refused(Some("queue"), Duration::from_secs(2));
        assert_eq!(begin.elapsed().as_secs(), 7);
        pace.turn().await.accepted();
        assert_eq!((begin.elapsed().as_secs(), pace.moved()), (9, Instant::now()));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_a_place_gets_it_when_one_is_free() {
        let pace = Pace::new(1);
        let first = pace.turn().await;
        let wait = async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            drop(first);
        };
        let begin = Instant::now();
        let (_second, ()) = tokio::join!(pace.turn(), wait);
        assert_eq!(begin.elapsed().as_secs(), 3);
    }
}
