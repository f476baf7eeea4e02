//! A queue in memory: for tests, and for whoever can do without what was queued when the process ends (the sweep finds it).

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio::time::Instant;

use super::{
    Claimed, Depth, Error, Grant, Holder, JobQueue, Settings, Ticket,
    state::{Pushed, State},
    wait::{Bell, Found},
};
use crate::model::Job;

/// The queue's rules behind a lock that is never held while waiting.
#[derive(Debug)]
pub struct MemoryQueue {
    state: Mutex<State>,
    bell: Bell,
    lease: Duration,
    incarnation: String,
}

impl MemoryQueue {
    /// An empty queue.
    pub fn new(settings: Settings) -> Self {
        Self {
            state: Mutex::new(State::new(settings)),
            bell: Bell::default(),
            lease: settings.lease,
            incarnation: format!("{:032x}", fastrand::u128(..)),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look(&self, max: usize) -> Found {
        let mut state = self.state();
        Found { claimed: state.claim(max, Instant::now()), next: state.next_ready() }
    }
}

#[async_trait]
impl JobQueue for MemoryQueue {
    async fn hold_credits(&self, holder: &Holder, want: [usize; 3]) -> Result<Grant, Error> {
        Ok(self.state().hold_credits(holder, want, Instant::now()))
    }

    async fn push(&self, job: Job, holder: Option<&Holder>) -> Result<(), Error> {
        let pushed = self.state().push(Arc::new(job), holder, Instant::now())?;
        if let Pushed::New(_) = pushed {
            self.bell.ring(1);
        }
        Ok(())
    }

    async fn claim(&self, max: usize, wait: Duration) -> Result<Vec<Claimed>, Error> {
        if max == 0 {
            return Ok(Vec::new());
        }
        self.bell.wait(wait, self.lease, || async { Ok(self.look(max)) }).await
    }

    async fn extend(&self, tickets: &[Ticket]) -> Result<(), Error> {
        let (mut state, now) = (self.state(), Instant::now());
        for ticket in tickets {
            state.extend(*ticket, now);
        }
        Ok(())
    }

    async fn done(&self, tickets: &[Ticket]) -> Result<(), Error> {
        let (mut state, now) = (self.state(), Instant::now());
        for ticket in tickets {
            state.done(*ticket, now);
        }
        Ok(())
    }

    async fn again(&self, ticket: Ticket, delay: Duration, tried: bool) -> Result<(), Error> {
        let back = self.state().again(ticket, delay, tried, Instant::now());
        match back {
            Some(_) if delay.is_zero() => self.bell.ring(1),
            Some(_) => self.bell.ring_for_all(),
            None => {}
        }
        Ok(())
    }

    async fn depth(&self) -> Result<Depth, Error> {
        Ok(self.state().depth(Instant::now()))
    }

    async fn incarnation(&self) -> Result<String, Error> {
        Ok(self.incarnation.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::conformance;

    #[tokio::test(start_paused = true)]
    async fn keeps_every_promise_of_the_seam() {
        conformance::suite(async |settings| Arc::new(MemoryQueue::new(settings)) as Arc<dyn JobQueue>).await;
    }
}
