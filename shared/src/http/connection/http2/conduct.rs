//! What a client does with its streams: how many are open, and whether it waits for answers or only begins and abandons.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{sync::watch, time::timeout};

use crate::shutdown::Stop;

/// How many requests a client may abandon beyond as many as were answered. Each costs it a few bytes and us a task: a client that
/// does nothing else (CVE-2023-44487, "rapid reset") is cut off. Those that hyper has not begun yet are counted by itself.
const ABANDONED: usize = 1000;

/// One connection's streams.
#[derive(Debug, Default)]
pub(super) struct Conduct {
    open: watch::Sender<usize>,
    answered: AtomicUsize,
    abandoned: AtomicUsize,
    enough: Stop,
}

impl Conduct {
    /// A stream has begun.
    pub(super) fn begin(self: &Arc<Self>) -> Open {
        self.open.send_modify(|open| *open += 1);
        Open { conduct: Arc::clone(self), answered: false }
    }

    /// Waits until no stream has been open for `rest`.
    pub(super) async fn quiet(&self, rest: Duration) {
        let mut open = self.open.subscribe();
        loop {
            // Neither can fail: the sender is here.
            let _ = open.wait_for(|open| *open == 0).await;
            if timeout(rest, open.wait_for(|open| *open > 0)).await.is_err() {
                return;
            }
        }
    }

    /// Waits until too many requests were abandoned.
    pub(super) async fn enough(&self) {
        self.enough.cancelled().await;
    }

    fn ended(&self, answered: bool) {
        self.open.send_modify(|open| *open -= 1);
        if answered {
            self.answered.fetch_add(1, Ordering::Relaxed);
        } else if self.abandoned.fetch_add(1, Ordering::Relaxed)
            >= self.answered.load(Ordering::Relaxed) + ABANDONED
        {
            self.enough.cancel();
        }
    }
}

/// An open stream: from its request's head to the last of its answer, or until it is abandoned.
#[derive(Debug)]
pub(super) struct Open {
    conduct: Arc<Conduct>,
    answered: bool,
}

impl Open {
    /// The answer begins.
    pub(super) fn answered(&mut self) {
        self.answered = true;
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.conduct.ended(self.answered);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::poll;
    use tokio::time::{Instant, advance};

    use super::*;

    #[tokio::test]
    async fn who_abandons_much_more_than_is_answered_has_had_enough() {
        let conduct = Arc::new(Conduct::default());
        for _ in 0..10 {
            conduct.begin().answered();
        }
        for _ in 0..ABANDONED + 10 {
            drop(conduct.begin());
        }
        assert!(poll!(Box::pin(conduct.enough())).is_pending());
        drop(conduct.begin());
        assert!(poll!(Box::pin(conduct.enough())).is_ready());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_quiet_when_no_stream_was_open_for_a_while() {
        const REST: Duration = Duration::from_secs(10);
        let conduct = Arc::new(Conduct::default());
        let mut quiet = Box::pin(conduct.quiet(REST));
        assert!(poll!(&mut quiet).is_pending());
        advance(REST / 2).await;
        let open = conduct.begin();
        assert!(poll!(&mut quiet).is_pending());
        advance(2 * REST).await;
        assert!(poll!(&mut quiet).is_pending());
        drop(open);
        let begun = Instant::now();
        quiet.await;
        assert_eq!(begun.elapsed(), REST);
    }
}
