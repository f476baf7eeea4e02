//! Waiting for a job without a timer of the queue's own: whoever waits asks again when something may have come into line.
//!
//! Two kinds of things bring a job into line. What somebody does rings the bell. What time does is known beforehand, so whoever
//! waits sleeps no longer than until then; a lease that begins while it sleeps cannot lapse before a whole lease is over.

use std::{future::Future, pin::pin, time::Duration};

use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use super::{Claimed, Error};

/// Rung when a job may be had.
#[derive(Debug, Default)]
pub(super) struct Bell(Notify);

/// What a claim found at one moment.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) claimed: Vec<Claimed>,
    /// When something will next be in line by the passing of time alone.
    pub(super) next: Option<Instant>,
}

impl Bell {
    /// `jobs` more are in line.
    pub(super) fn ring(&self, jobs: usize) {
        for _ in 0..jobs {
            self.0.notify_one();
        }
    }

    /// What time will bring has changed: all who wait look again.
    pub(super) fn ring_for_all(&self) {
        self.0.notify_waiters();
    }

    /// Claims again and again until there is something or `wait` is over.
    pub(super) async fn wait<F>(
        &self,
        wait: Duration,
        lease: Duration,
        claim: impl Fn() -> F + Send,
    ) -> Result<Vec<Claimed>, Error>
    where
        F: Future<Output = Result<Found, Error>> + Send,
    {
        let deadline = Instant::now().checked_add(wait);
        loop {
            // Listening begins before looking, so that nothing is missed in between.
            let mut rung = pin!(self.0.notified());
            rung.as_mut().enable();
            let asked = Instant::now();
            let found = claim().await?;
            if !found.claimed.is_empty() || deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Ok(found.claimed);
            }
            let until = [deadline, found.next].into_iter().flatten().fold(asked + lease, Instant::min);
            // Rung or over, the next round looks.
            timeout_at(until, rung).await.unwrap_or_default();
        }
    }
}
