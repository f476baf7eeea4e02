//! What may go wrong.

use super::{
    rule::Rule,
    state::{Content, Deletion, Queue, Record, Row, Stage, State, Sweep, Worker},
    step::{Act, Next, Who},
};

pub(super) fn steps(next: &mut Next) {
    ingest(next);
    processor(next);
    queue(next);
    if next.state.deletion != Deletion::None {
        next.step(Who::User, Act::CrashDeletion, |state| state.deletion = Deletion::None);
    }
    cut_power(next);
}

fn ingest(next: &mut Next) {
    for (number, who) in [Who::First, Who::Second].into_iter().enumerate() {
        let stage = next.state.tries[number].stage;
        if stage.is_under_way() {
            next.step(who, Act::BreakOff, |state| state.tries[number] = state.tries[number].ended());
        }
        if let Stage::Pushing(_) = stage {
            next.step(who, Act::FailPush, |state| state.tries[number].stage = Stage::Acknowledged);
        }
    }
}

fn processor(next: &mut Next) {
    let State { worker, sweep, .. } = next.state;
    let rules = next.rules;
    if worker != Worker::Idle || sweep != Sweep::Resting {
        next.step(Who::Processor, Act::CrashProcessor, State::stop_processor);
    }
    match worker {
        Worker::Claimed(_) => next.step(Who::Processor, Act::FailCheck, |state| {
            if rules.keep(Rule::UnclearIsNotMissing) {
                state.queue.give_back();
                state.worker = Worker::Idle;
            } else {
                state.worker = Worker::Checked(Record::Failed);
            }
        }),
        Worker::Checked(Record::Sound(_)) => next.step(Who::Processor, Act::Reject, |state| {
            if !rules.keep(Rule::RejectedIsKept) {
                state.ledger.commit(Record::Failed, rules);
            } else if !state.ledger.row.is_known() {
                state.ledger.row = Row::DeadLetter;
            }
            state.worker = Worker::Written { worthless: state.ledger.row.is_worthless() };
        }),
        _ => {}
    }
}

/// The queue need not be durable: it may forget a job, or that it was done.
fn queue(next: &mut Next) {
    match next.state.queue {
        Queue::Empty => {
            if let Some(job) = next.state.done() {
                next.step(Who::Queue, Act::RepeatJob, |state| state.queue = Queue::Ready(job));
            }
        }
        Queue::Ready(_) => next.step(Who::Queue, Act::LoseJob, |state| state.queue = Queue::Empty),
        Queue::Leased(_) => {
            next.step(Who::Queue, Act::LoseJob, |state| state.queue = Queue::Empty);
            next.step(Who::Queue, Act::LapseLease, |state| state.queue.give_back());
        }
    }
}

/// Everybody is gone at once, and the store is what was durable of it. What the queue was told last, it may or may not know.
fn cut_power(next: &mut Next) {
    let job = match next.state.queue {
        Queue::Ready(job) | Queue::Leased(job) => Some(job),
        Queue::Empty => next.state.done(),
    };
    for queue in [Some(Queue::Empty), job.map(Queue::Ready)].into_iter().flatten() {
        next.step(Who::Machine, Act::CutPower, |state| {
            state.stop_processor();
            for this in &mut state.tries {
                if this.stage.is_under_way() {
                    *this = this.ended();
                }
            }
            state.deletion = Deletion::None;
            state.store.visible = state.store.durable;
            state.queue = queue;
        });
    }
}

impl State {
    /// A job that may have been done. What it says of a deleted upload's bytes makes no difference any more.
    fn done(&self) -> Option<Content> {
        match self.ledger.row {
            Row::None => None,
            Row::Stored(content) => Some(content),
            Row::DeadLetter => self.store.visible,
            Row::Failed { .. } | Row::Deleted { .. } => Some(Content::One),
        }
    }

    /// Its jobs are delivered again.
    fn stop_processor(&mut self) {
        self.worker = Worker::Idle;
        self.sweep = Sweep::Resting;
        self.queue.give_back();
    }
}
