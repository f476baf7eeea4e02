//! A deadline for something that is waited for again and again, at the cost of a timer each time it runs out, and not each time it
//! begins.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};

/// Barks when a wait lasts too long.
#[derive(Debug)]
pub(super) struct Watchdog {
    limit: Duration,
    since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Watchdog {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, since: None, timer: None }
    }

    pub(super) fn limit(&self) -> Duration {
        self.limit
    }

    /// The wait is over.
    pub(super) fn rest(&mut self) {
        self.since = None;
    }

    /// The wait goes on; ready when it has lasted too long.
    pub(super) fn poll_late(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let limit = self.limit;
        let deadline = *self.since.get_or_insert_with(Instant::now) + limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(limit)));
        loop {
            ready!(timer.as_mut().poll(context));
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use futures_util::poll;
    use tokio::time::advance;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn it_barks_when_one_wait_is_too_long_and_not_when_all_are() {
        let mut dog = Watchdog::new(LIMIT);
        for _ in 0..5 {
            assert!(poll!(poll_fn(|context| dog.poll_late(context))).is_pending());
            advance(LIMIT * 3 / 4).await;
            dog.rest();
        }
        let begun = Instant::now();
        poll_fn(|context| dog.poll_late(context)).await;
        assert!(begun.elapsed() >= LIMIT && begun.elapsed() < LIMIT + Duration::from_secs(1));
    }
}
