//! The queue's rules, without I/O and without a clock: who gets in, who is next, who answers for what and until when.
//!
//! Every job is an entry in exactly one place (in line, in flight, delayed), and every verb first lets time pass: leases and
//! credits that lapsed are gone, delayed jobs that are due are in line. So nothing needs a timer, and the bound
//! `ready + in flight + delayed + credits ≤ capacity` holds whenever somebody looks. It is the sum of two counters.
//!
//! Verbs cost O(log n); lapses cost O(log n) for each that lapsed.

mod credits;
mod lines;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use self::{credits::Credits, lines::Lines};
use super::{Claimed, Depth, Grant, Holder, Settings, Ticket};
use crate::model::{Job, Priority, UploadId};

/// The whole queue.
#[derive(Debug)]
pub(super) struct State {
    settings: Settings,
    /// By number, and numbers are given out in the order of arrival: the first entry is the oldest.
    entries: BTreeMap<u64, Entry>,
    ids: HashMap<UploadId, u64>,
    lines: Lines,
    leases: Timed,
    delayed: Timed,
    credits: Credits,
    /// The last entry's number, and the last claim's: never given out twice, so that a late ticket fits nothing.
    last_entry: u64,
    last_claim: u64,
    /// How many jobs left it done.
    done: u64,
}

#[derive(Debug)]
struct Entry {
    job: Arc<Job>,
    /// How often it was handed out and not answered.
    deliveries: u32,
    since: Instant,
    place: Place,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Ready,
    InFlight { claim: u64, until: Instant },
    Delayed { due: Instant },
}

/// Entries that wait for a moment, and how many there are of each priority.
#[derive(Debug, Default)]
struct Timed {
    by_time: BTreeSet<(Instant, u64)>,
    count: [usize; 3],
}

/// What a push came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pushed {
    /// The job is the entry of this number.
    New(u64),
    /// It was on the queue already.
    Known,
}

/// There is no credit and no room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Full;

/// How an entry stands after it was put back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct PutBack {
    pub(super) tries: u32,
    pub(super) deliveries: u32,
}

/// An entry as a journal kept it.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) entry: u64,
    pub(super) job: Job,
    pub(super) deliveries: u32,
    pub(super) since: Instant,
    /// `None`: in line.
    pub(super) due: Option<Instant>,
}

impl From<Full> for super::Error {
    fn from(_: Full) -> Self {
        Self::Full
    }
}

impl State {
    /// An empty queue.
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            settings,
            entries: BTreeMap::new(),
            ids: HashMap::new(),
            lines: Lines::default(),
            leases: Timed::default(),
            delayed: Timed::default(),
            credits: Credits::default(),
            last_entry: 0,
            last_claim: 0,
            done: 0,
        }
    }

    /// An empty queue that still knows which numbers were given out, so that no old ticket fits a new claim.
    pub(super) fn emptied(&self) -> Self {
        Self { last_entry: self.last_entry, last_claim: self.last_claim, ..Self::new(self.settings) }
    }

    /// Takes in an entry that a journal kept. They come in the order of their numbers. It asks for no room: what was accepted
    /// stays, also when the capacity was made smaller since.
    pub(super) fn restore(&mut self, kept: Kept) {
        let Kept { entry, job, deliveries, since, due } = kept;
        let place = due.map_or(Place::Ready, |due| Place::Delayed { due });
        self.last_entry = self.last_entry.max(entry);
        self.ids.insert(job.id, entry);
        self.enter(entry, Entry { job: Arc::new(job), deliveries, since, place });
    }

    /// Jobs and credits: what the bound is about.
    pub(super) fn total(&self) -> usize {
        self.entries.len() + self.credits.total()
    }

    /// See [`super::JobQueue::hold_credits`].
    pub(super) fn hold_credits(&mut self, holder: &Holder, want: [usize; 3], now: Instant) -> Grant {
        self.pass(now);
        let until = now + self.settings.credit_ttl;
        let held = self.credits.hold(holder, want, until, self.entries.len(), self.settings.capacity);
        Grant { held, until }
    }

    /// See [`super::JobQueue::push`].
    pub(super) fn push(
        &mut self,
        job: Arc<Job>,
        holder: Option<&Holder>,
        now: Instant,
    ) -> Result<Pushed, Full> {
        self.pass(now);
        let spent = holder.is_some_and(|holder| self.credits.spend(holder, job.priority));
        if self.ids.contains_key(&job.id) {
            return Ok(Pushed::Known);
        }
        if !spent && self.total() >= job.priority.share_of(self.settings.capacity) {
            return Err(Full);
        }
        self.last_entry += 1;
        self.ids.insert(job.id, self.last_entry);
        let entry = Entry { job, deliveries: 0, since: now, place: Place::Ready };
        self.enter(self.last_entry, entry);
        Ok(Pushed::New(self.last_entry))
    }

    /// Takes what is in line now; see [`super::JobQueue::claim`].
    pub(super) fn claim(&mut self, max: usize, now: Instant) -> Vec<Claimed> {
        self.pass(now);
        let mut claimed = Vec::with_capacity(max.min(self.lines.len().iter().sum()));
        while claimed.len() < max
            && let Some(number) = self.lines.take()
        {
            claimed.extend(self.hand_out(number, now));
        }
        claimed
    }

    /// Answers for a lease for another while; says whether it still stood.
    pub(super) fn extend(&mut self, ticket: Ticket, now: Instant) -> bool {
        self.pass(now);
        let longer = now + self.settings.lease;
        let Some(entry) = leased(&mut self.entries, ticket) else { return false };
        if let Place::InFlight { claim, until } = entry.place {
            self.leases.remove(until, ticket.number(), entry.job.priority);
            self.leases.insert(longer, ticket.number(), entry.job.priority);
            entry.place = Place::InFlight { claim, until: longer };
        }
        true
    }

    /// Takes a job off the queue; says whether its lease still stood.
    pub(super) fn done(&mut self, ticket: Ticket, now: Instant) -> bool {
        self.pass(now);
        let Some(entry) = self.leave(ticket) else { return false };
        self.ids.remove(&entry.job.id);
        self.done += 1;
        true
    }

    /// Puts a job back, when its lease still stands. An answered delivery does not count as one: the count shows
    /// workers that were never heard of again.
    pub(super) fn again(
        &mut self,
        ticket: Ticket,
        delay: Duration,
        tried: bool,
        now: Instant,
    ) -> Option<PutBack> {
        self.pass(now);
        let mut entry = self.leave(ticket)?;
        entry.deliveries = entry.deliveries.saturating_sub(1);
        if tried {
            let job = Arc::make_mut(&mut entry.job);
            job.tries = job.tries.saturating_add(1);
        }
        entry.place = if delay.is_zero() { Place::Ready } else { Place::Delayed { due: later(now, delay) } };
        let back = PutBack { tries: entry.job.tries, deliveries: entry.deliveries };
        self.enter(ticket.number(), entry);
        Some(back)
    }

    /// See [`super::JobQueue::depth`].
    pub(super) fn depth(&mut self, now: Instant) -> Depth {
        self.pass(now);
        Depth {
            ready: self.lines.len(),
            in_flight: self.leases.count,
            delayed: self.delayed.count,
            credited: self.credits.count(),
            oldest: self.entries.first_key_value().map(|(_, oldest)| now.duration_since(oldest.since)),
            done: self.done,
        }
    }

    /// When something will next be in line by the passing of time alone.
    pub(super) fn next_ready(&self) -> Option<Instant> {
        [&self.leases, &self.delayed].into_iter().filter_map(Timed::first).min()
    }

    /// Lets time pass: what lapsed by `now` is gone, what is due is in line.
    fn pass(&mut self, now: Instant) {
        self.credits.lapse(now);
        self.lapse(now);
        while let Some(number) = self.delayed.pop(now, &self.entries) {
            if let Some(entry) = self.entries.get_mut(&number) {
                entry.place = Place::Ready;
                self.lines.push(entry.job.priority, number);
            }
        }
    }

    /// Jobs whose worker was not heard of go to the front of their lines: they are the oldest.
    fn lapse(&mut self, now: Instant) {
        let mut lapsed = Vec::new();
        while let Some(number) = self.leases.pop(now, &self.entries) {
            lapsed.push(number);
        }
        for number in lapsed.into_iter().rev() {
            if let Some(entry) = self.entries.get_mut(&number) {
                entry.place = Place::Ready;
                self.lines.push_front(entry.job.priority, number);
            }
        }
    }

    fn hand_out(&mut self, number: u64, now: Instant) -> Option<Claimed> {
        let entry = self.entries.get_mut(&number)?;
        let (priority, until) = (entry.job.priority, now + self.settings.lease);
        self.last_claim += 1;
        entry.deliveries = entry.deliveries.saturating_add(1);
        entry.place = Place::InFlight { claim: self.last_claim, until };
        self.leases.insert(until, number, priority);
        let ticket = Ticket { priority, job: entry.job.id, entry: number.into(), claim: self.last_claim };
        Some(Claimed { job: Arc::clone(&entry.job), ticket, deliveries: entry.deliveries })
    }

    /// Puts an entry in the place that it names.
    fn enter(&mut self, number: u64, entry: Entry) {
        let priority = entry.job.priority;
        match entry.place {
            Place::Ready => self.lines.push(priority, number),
            Place::InFlight { until, .. } => self.leases.insert(until, number, priority),
            Place::Delayed { due } => self.delayed.insert(due, number, priority),
        }
        self.entries.insert(number, entry);
    }

    /// Takes out the entry that `ticket` answers for.
    fn leave(&mut self, ticket: Ticket) -> Option<Entry> {
        leased(&mut self.entries, ticket)?;
        let entry = self.entries.remove(&ticket.number())?;
        if let Place::InFlight { until, .. } = entry.place {
            self.leases.remove(until, ticket.number(), entry.job.priority);
        }
        Some(entry)
    }
}

/// The entry that `ticket` answers for; `None` when the lease lapsed or was answered.
fn leased(entries: &mut BTreeMap<u64, Entry>, ticket: Ticket) -> Option<&mut Entry> {
    let entry = entries.get_mut(&ticket.number())?;
    match entry.place {
        Place::InFlight { claim, .. } if claim == ticket.claim => Some(entry),
        Place::InFlight { .. } | Place::Ready | Place::Delayed { .. } => None,
    }
}

/// `delay` after `now`; a delay past all reckoning is a year.
fn later(now: Instant, delay: Duration) -> Instant {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
    now + delay.min(YEAR)
}

impl Timed {
    fn insert(&mut self, at: Instant, number: u64, priority: Priority) {
        if self.by_time.insert((at, number)) {
            self.count[priority.index()] += 1;
        }
    }

    fn remove(&mut self, at: Instant, number: u64, priority: Priority) {
        if self.by_time.remove(&(at, number)) {
            self.count[priority.index()] -= 1;
        }
    }

    fn first(&self) -> Option<Instant> {
        self.by_time.first().map(|&(at, _)| at)
    }

    /// The first entry whose moment has come by `now`.
    fn pop(&mut self, now: Instant, entries: &BTreeMap<u64, Entry>) -> Option<u64> {
        let &(at, number) = self.by_time.first()?;
        let priority = entries.get(&number)?.job.priority;
        (at <= now).then(|| {
            self.remove(at, number, priority);
            number
        })
    }
}
