//! Random histories: after each step the bound holds, a recount agrees, no job is in two places and none is lost.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::queue::conformance::{holder, job};

const CAPACITY: usize = 20;
const SETTINGS: Settings =
    Settings { capacity: CAPACITY, lease: Duration::from_secs(10), credit_ttl: Duration::from_secs(7) };

#[derive(Clone, Debug)]
enum Op {
    Hold { holder: u8, want: [usize; 3] },
    Push { id: u8, priority: usize, holder: Option<u8> },
    Claim(usize),
    Extend(usize),
    Done(usize),
    Again { which: usize, delay: u64, tried: bool },
    Pass(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let want = || prop_oneof![Just(0), 0..8_usize, Just(99)];
    prop_oneof![
        2 => (0..3_u8, [want(), want(), want()]).prop_map(|(holder, want)| Op::Hold { holder, want }),
        6 => (any::<u8>(), 0..3_usize, proptest::option::of(0..3_u8))
            .prop_map(|(id, priority, holder)| Op::Push { id, priority, holder }),
        3 => (0..6_usize).prop_map(Op::Claim),
        1 => (0..64_usize).prop_map(Op::Extend),
        4 => (0..64_usize).prop_map(Op::Done),
        2 => (0..64_usize, prop_oneof![Just(0), 1..20_u64], any::<bool>())
            .prop_map(|(which, delay, tried)| Op::Again { which, delay, tried }),
        2 => (0..12_u64).prop_map(Op::Pass),
    ]
}

/// A queue beside a plain account of what must be true of it.
struct Run {
    state: State,
    now: Instant,
    /// Every ticket ever handed out, with the job's id and the end of its lease.
    tickets: Vec<(Ticket, UploadId, Instant)>,
    /// What was pushed and not done.
    there: HashSet<UploadId>,
}

impl Run {
    fn step(&mut self, op: Op) {
        let (state, now) = (&mut self.state, self.now);
        match op {
            Op::Pass(seconds) => self.now += Duration::from_secs(seconds),
            Op::Hold { holder: who, want } => self.hold(who, want),
            Op::Push { id, priority, holder } => self.push(id, Priority::ALL[priority], holder),
            Op::Claim(max) => {
                let until = now + SETTINGS.lease;
                let claimed = state.claim(max, now);
                assert!(claimed.len() <= max);
                self.tickets.extend(claimed.iter().map(|one| (one.ticket, one.job.id, until)));
            }
            Op::Extend(which) => {
                let Some((ticket, _, until)) = self.ticket(which) else { return };
                let stood = self.state.extend(ticket, now);
                assert_eq!(stood, now < until);
                if stood {
                    self.tickets
                        .iter_mut()
                        .filter(|one| one.0 == ticket)
                        .for_each(|one| one.2 = now + SETTINGS.lease);
                }
            }
            Op::Done(which) => {
                let Some((ticket, id, until)) = self.ticket(which) else { return };
                if self.answered(ticket, until, |state| state.done(ticket, now)) {
                    assert!(self.there.remove(&id));
                }
            }
            Op::Again { which, delay, tried } => {
                let Some((ticket, _, until)) = self.ticket(which) else { return };
                let delay = Duration::from_secs(delay);
                self.answered(ticket, until, |state| state.again(ticket, delay, tried, now).is_some());
            }
        }
    }

    fn ticket(&self, which: usize) -> Option<(Ticket, UploadId, Instant)> {
        self.tickets.iter().rev().nth(which % self.tickets.len().max(1)).copied()
    }

    /// An answer counts once, and only while the lease stands.
    fn answered(&mut self, ticket: Ticket, until: Instant, answer: impl Fn(&mut State) -> bool) -> bool {
        let stood = answer(&mut self.state);
        assert_eq!(stood, self.now < until);
        assert!(!answer(&mut self.state));
        self.tickets.retain(|one| one.0 != ticket);
        stood
    }

    fn hold(&mut self, who: u8, want: [usize; 3]) {
        self.state.pass(self.now);
        let before = self.state.credits.count();
        let grant = self.state.hold_credits(&holder(who), want, self.now);
        assert!(grant.held.iter().zip(want).all(|(held, want)| *held <= want));
        let after = self.state.credits.count();
        if let Some(least) = Priority::ALL.into_iter().rfind(|p| after[p.index()] > before[p.index()]) {
            assert!(self.state.total() <= least.share_of(CAPACITY));
        }
    }

    fn push(&mut self, id: u8, priority: Priority, who: Option<u8>) {
        self.state.pass(self.now);
        let before = self.state.total();
        let job = job(u64::from(id), priority);
        let id = job.id;
        let known = self.there.contains(&id);
        match self.state.push(Arc::new(job), who.map(holder).as_ref(), self.now) {
            Ok(Pushed::New(_)) => assert!(self.there.insert(id)),
            Ok(Pushed::Known) => assert!(known),
            Err(Full) => assert!(!known && self.state.total() >= priority.share_of(CAPACITY)),
        }
        if self.state.total() > before {
            assert!(self.state.total() <= priority.share_of(CAPACITY));
        }
    }

    fn check(&mut self) {
        let depth = self.state.depth(self.now);
        assert!(depth.total() <= CAPACITY, "{depth:?}");
        assert_eq!(depth.total(), self.state.total());
        self.state.check();
        assert_eq!(self.state.ids.keys().copied().collect::<HashSet<_>>(), self.there);
    }
}

impl State {
    /// Counts anew; panics when a counter or an index is wrong.
    fn check(&self) {
        self.credits.check();
        let mut timed = [[0; 3]; 2];
        let mut in_line: HashSet<u64> = HashSet::new();
        for priority in Priority::ALL {
            for number in self.lines.iter(priority) {
                assert!(in_line.insert(number), "entry {number} is in line twice");
                assert_eq!(self.entries[&number].job.priority, priority);
            }
        }
        for (number, entry) in &self.entries {
            assert_eq!(self.ids.get(&entry.job.id), Some(number));
            assert_eq!(in_line.remove(number), entry.place == Place::Ready);
            let priority = entry.job.priority.index();
            match entry.place {
                Place::Ready => {}
                Place::InFlight { until, .. } => {
                    assert!(self.leases.by_time.contains(&(until, *number)));
                    timed[0][priority] += 1;
                }
                Place::Delayed { due } => {
                    assert!(self.delayed.by_time.contains(&(due, *number)));
                    timed[1][priority] += 1;
                }
            }
        }
        assert!(in_line.is_empty(), "in line without an entry: {in_line:?}");
        for (timed, count) in [&self.leases, &self.delayed].into_iter().zip(timed) {
            assert_eq!((timed.count, timed.by_time.len()), (count, count.iter().sum()));
        }
        assert_eq!(self.ids.len(), self.entries.len());
    }
}

proptest! {
    #[test]
    fn holds_the_bound_and_loses_nothing_whatever_happens(ops in proptest::collection::vec(op(), 1..200)) {
        let mut run = Run { state: State::new(SETTINGS), now: Instant::now(), tickets: Vec::new(), there: HashSet::new() };
        for op in ops {
            run.step(op);
            run.check();
        }
    }
}

#[test]
fn a_lapsed_job_is_first_in_line_again() {
    let (mut state, now) = (State::new(SETTINGS), Instant::now());
    for n in 0..4 {
        assert!(state.push(Arc::new(job(n, Priority::High)), None, now).is_ok());
    }
    assert_eq!(state.claim(2, now).len(), 2);
    let claimed = state.claim(9, now + SETTINGS.lease);
    let order: Vec<_> = claimed.iter().map(|one| (one.job.id, one.deliveries)).collect();
    let expected = [(0, 2), (1, 2), (2, 1), (3, 1)].map(|(n, count)| (job(n, Priority::High).id, count));
    assert_eq!(order, expected);
}

#[test]
fn an_old_ticket_fits_nothing_in_a_queue_that_was_made_again() {
    let (mut state, now) = (State::new(SETTINGS), Instant::now());
    let known = job(1, Priority::High);
    assert_eq!(state.push(Arc::new(known.clone()), None, now), Ok(Pushed::New(1)));
    let old = state.claim(1, now)[0].ticket;
    state = state.emptied();
    state.restore(Kept { entry: 1, job: known, deliveries: 1, since: now, due: None });
    assert_eq!(state.claim(1, now).len(), 1);
    assert!(!state.done(old, now));
    assert_eq!(state.push(Arc::new(job(2, Priority::High)), None, now), Ok(Pushed::New(2)));
}

#[test]
fn what_was_accepted_stays_when_the_queue_is_made_smaller() {
    let (mut state, now) = (State::new(Settings { capacity: 1, ..SETTINGS }), Instant::now());
    for n in 1..=3 {
        state.restore(Kept { entry: n, job: job(n, Priority::Low), deliveries: 0, since: now, due: None });
    }
    assert_eq!(state.push(Arc::new(job(9, Priority::High)), None, now), Err(Full));
    assert_eq!(state.hold_credits(&holder(1), [5; 3], now).held, [0; 3]);
    assert_eq!(state.claim(9, now).len(), 3);
}
