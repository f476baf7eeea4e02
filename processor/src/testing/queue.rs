//! A queue in memory, as far as a processor looks at it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use headworks_shared::{
    model::Job,
    queue::{Claimed, Depth, Error, Grant, Holder, JobQueue, Ticket},
};
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

#[derive(Debug)]
struct Entry {
    job: Job,
    /// Not to be handed out before: a delay, or the end of a lease.
    free_at: Instant,
    claim: Option<u64>,
    deliveries: u32,
}

#[derive(Debug, Default)]
struct State {
    entries: BTreeMap<u128, Entry>,
    next: u64,
    claiming: usize,
    extended: u64,
    down: bool,
    refused: u64,
}

/// The queue.
#[derive(Debug)]
pub(crate) struct Queue {
    capacity: usize,
    lease: Duration,
    state: Mutex<State>,
    pushed: Notify,
}

impl Queue {
    pub(super) fn new(capacity: usize, lease: Duration) -> Self {
        Self { capacity, lease, state: Mutex::default(), pushed: Notify::new() }
    }

    /// All jobs, with how often each was handed out.
    pub(crate) fn jobs(&self) -> Vec<(Job, u32)> {
        self.lock().entries.values().map(|entry| (entry.job.clone(), entry.deliveries)).collect()
    }

    /// While it is down, nobody can claim.
    pub(crate) fn set_down(&self, down: bool) {
        self.lock().down = down;
    }

    /// How many claims failed while it was down.
    pub(crate) fn refused(&self) -> u64 {
        self.lock().refused
    }

    /// How many claims wait for a job.
    pub(crate) fn claiming(&self) -> usize {
        self.lock().claiming
    }

    /// How often a lease was extended.
    pub(crate) fn extended(&self) -> u64 {
        self.lock().extended
    }

    /// As if the jobs had been handed out this often before.
    pub(crate) fn set_deliveries(&self, deliveries: u32) {
        self.lock().entries.values_mut().for_each(|entry| entry.deliveries = deliveries);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn take(&self, max: usize) -> Vec<Claimed> {
        let now = Instant::now();
        let mut state = self.lock();
        state.next += 1;
        let claim = state.next;
        let free = state.entries.iter_mut().filter(|(_, entry)| entry.free_at <= now).take(max);
        free.map(|(number, entry)| {
            entry.free_at = now + self.lease;
            entry.claim = Some(claim);
            entry.deliveries += 1;
            Claimed {
                job: Arc::new(entry.job.clone()),
                ticket: Ticket { priority: entry.job.priority, job: entry.job.id, entry: *number, claim },
                deliveries: entry.deliveries,
            }
        })
        .collect()
    }
}

#[async_trait]
impl JobQueue for Queue {
    async fn hold_credits(&self, _: &Holder, _: [usize; 3]) -> Result<Grant, Error> {
        Err(Error::Full)
    }

    async fn push(&self, job: Job, _: Option<&Holder>) -> Result<(), Error> {
        let mut state = self.lock();
        if state.entries.values().any(|entry| entry.job.id == job.id) {
            return Ok(());
        }
        if state.entries.len() >= self.capacity {
            return Err(Error::Full);
        }
        state.next += 1;
        let number = state.next.into();
        state.entries.insert(number, Entry { job, free_at: Instant::now(), claim: None, deliveries: 0 });
        drop(state);
        self.pushed.notify_one();
        Ok(())
    }

    async fn claim(&self, max: usize, wait: Duration) -> Result<Vec<Claimed>, Error> {
        let until = Instant::now() + wait;
        if self.lock().down {
            self.lock().refused += 1;
            return Err(Error::Unavailable(Arc::new(std::io::Error::other("queue is down"))));
        }
        self.lock().claiming += 1;
        let claimed = loop {
            let claimed = self.take(max);
            if !claimed.is_empty() || timeout_at(until, self.pushed.notified()).await.is_err() {
                break claimed;
            }
        };
        self.lock().claiming -= 1;
        Ok(claimed)
    }

    async fn extend(&self, tickets: &[Ticket]) -> Result<(), Error> {
        let mut state = self.lock();
        for ticket in tickets {
            if let Some(entry) =
                state.entries.get_mut(&ticket.entry).filter(|entry| entry.claim == Some(ticket.claim))
            {
                entry.free_at = Instant::now() + self.lease;
                state.extended += 1;
            }
        }
        Ok(())
    }

    async fn done(&self, tickets: &[Ticket]) -> Result<(), Error> {
        let mut state = self.lock();
        for ticket in tickets {
            if state.entries.get(&ticket.entry).is_some_and(|entry| entry.claim == Some(ticket.claim)) {
                state.entries.remove(&ticket.entry);
            }
        }
        Ok(())
    }

    async fn again(&self, ticket: Ticket, delay: Duration, tried: bool) -> Result<(), Error> {
        if let Some(entry) =
            self.lock().entries.get_mut(&ticket.entry).filter(|entry| entry.claim == Some(ticket.claim))
        {
            entry.free_at = Instant::now() + delay;
            entry.claim = None;
            entry.job.tries += u32::from(tried);
            entry.deliveries = 0;
        }
        Ok(())
    }

    async fn depth(&self) -> Result<Depth, Error> {
        Ok(Depth::default())
    }

    async fn incarnation(&self) -> Result<String, Error> {
        Ok("the only one".to_owned())
    }
}
