//! The processor and its job: `processor/src/{worker,persist,answer}.rs`, `processor/src/stage/verify.rs` and
//! `shared/src/meta/sqlite/persist.rs`.

use super::{
    rule::{Rule, Rules},
    state::{Content, Ledger, Queue, Record, Row, State, Worker},
    step::{Act, Next, Who},
};

pub(super) fn steps(next: &mut Next) {
    let State { worker, queue, store, .. } = next.state;
    let (rules, purge) = (next.rules, next.purge());
    let mut step = |act, change: &dyn Fn(&mut State)| next.step(Who::Processor, act, change);
    match worker {
        Worker::Idle => {
            if let Queue::Ready(job) = queue {
                step(Act::Claim, &|state| {
                    state.queue = Queue::Leased(job);
                    state.worker = Worker::Claimed(job);
                });
            }
        }
        Worker::Claimed(job) => {
            step(Act::Check, &|state| state.worker = Worker::Checked(check(job, store.visible)));
        }
        Worker::Checked(record) if rules.keep(Rule::CommitBeforeAnswer) => step(Act::Commit, &|state| {
            state.ledger.commit(record, rules);
            state.worker = Worker::Written { worthless: state.ledger.row.is_worthless() };
        }),
        Worker::Checked(record) => step(Act::Done, &|state| {
            state.queue.done();
            state.worker = Worker::Answered(record);
        }),
        Worker::Answered(record) => step(Act::Commit, &|state| {
            state.ledger.commit(record, rules);
            state.worker =
                if state.ledger.row.is_worthless() { Worker::Purging(purge) } else { Worker::Idle };
        }),
        Worker::Written { worthless } => step(Act::Done, &|state| {
            state.queue.done();
            state.worker = if worthless { Worker::Purging(purge) } else { Worker::Idle };
        }),
        Worker::Purging(purge) => next.step_purge(Who::Processor, purge, |state, then| {
            state.worker = then.map_or(Worker::Idle, Worker::Purging);
        }),
    }
}

/// Is the object what its job says?
fn check(job: Content, there: Option<Content>) -> Record {
    if there == Some(job) { Record::Sound(job) } else { Record::Failed }
}

impl Ledger {
    /// One transaction: the ledger's row decides whether usage and event change.
    pub(super) fn commit(&mut self, record: Record, rules: Rules) {
        if self.row.is_known() && rules.keep(Rule::LedgerDecides) {
            return;
        }
        match record {
            Record::Sound(content) => {
                self.row = Row::Stored(content);
                self.usage = more(self.usage);
                self.told_stored = more(self.told_stored);
            }
            Record::Failed => self.row = Row::Failed { purged: false },
        }
    }
}

/// Counts on; two is as wrong as many.
pub(super) fn more(count: u8) -> u8 {
    count.saturating_add(1).min(2)
}
