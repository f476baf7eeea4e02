//! All steps that can be taken from a state.

use std::fmt;

use super::{
    deletion, fault, processor,
    rule::{Rule, Rules},
    sentences::sentences,
    state::State,
    sweep, upload,
};

sentences! {
    /// Who takes a step, or to whom something happens.
    pub enum Who {
        First = "first try",
        Second = "second try",
        Processor = "processor",
        Sweep = "sweep",
        User = "deletion",
        Queue = "queue",
        Machine = "machine",
        Time = "time",
    }
}

sentences! {
    /// What is done in one step, which nothing can come between.
    pub enum Act {
        Begin = "begins: looks for the object, and in the ledger",
        Put = "puts the object in its place, visible",
        MeetObject = "finds its key taken by an object",
        Sync = "knows the object to be durable",
        Push = "pushes the job, and answers",
        Announce = "pushes the job, before there is an object",
        Claim = "claims the job",
        Check = "compares the object with its job",
        Commit = "commits the record",
        Done = "answers the lease: done",
        Delete = "writes the tombstone, usage and event",
        DeleteBytes = "removes the bytes, before there is a tombstone",
        WriteTombstone = "writes the tombstone of bytes that are gone",
        MeetLost = "sees an object that the ledger does not know",
        Adopt = "adopts the object: pushes its job",
        MeetWorthless = "sees that bytes of a failed or deleted upload are there, or may be",
        RemoveBytes = "removes the bytes",
        TellPurged = "tells the ledger that the bytes are gone",
        WriteBack = "writes back what the store last did",
        LeaveReach = "takes the upload out of the sweep's reach",
        BreakOff = "breaks off: its client or its process is gone",
        CrashProcessor = "crashes, and the sweep with it",
        CrashDeletion = "crashes",
        FailPush = "cannot reach the queue, and answers",
        FailCheck = "cannot reach the store",
        Reject = "is told that the database will never take the record",
        LapseLease = "loses patience with the processor's lease",
        LoseJob = "loses the job",
        RepeatJob = "has a job again that was done",
        CutPower = "loses its power, and what was not durable",
    }
}

/// Why a step is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// It follows from what was begun. Where no such step is left, everything has come to rest.
    Progress,
    /// A client or time may do it, or never.
    Choice,
    /// Something breaks.
    Fault,
}

impl Act {
    /// Why it is done.
    pub const fn kind(self) -> Kind {
        match self {
            Self::Begin | Self::Delete | Self::DeleteBytes | Self::LeaveReach => Kind::Choice,
            Self::BreakOff
            | Self::CrashProcessor
            | Self::CrashDeletion
            | Self::FailPush
            | Self::FailCheck
            | Self::Reject
            | Self::LapseLease
            | Self::LoseJob
            | Self::RepeatJob
            | Self::CutPower => Kind::Fault,
            _ => Kind::Progress,
        }
    }
}

/// One step of one actor.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Step {
    /// Who.
    pub who: Who,
    /// What.
    pub act: Act,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.act.kind() == Kind::Fault { " (fault)" } else { "" };
        write!(f, "{} {}{mark}", self.who, self.act)
    }
}

/// As many steps there mostly are.
const USUAL: usize = 16;

/// All steps from `state`, and where they lead.
pub fn steps(state: &State, rules: Rules) -> Vec<(Step, State)> {
    let mut next = Next { state: *state, rules, steps: Vec::with_capacity(USUAL) };
    upload::steps(&mut next);
    processor::steps(&mut next);
    sweep::steps(&mut next);
    deletion::steps(&mut next);
    store(&mut next);
    fault::steps(&mut next);
    next.steps
}

/// A system writes back what nobody waits for, too.
fn store(next: &mut Next) {
    if !next.state.store.is_synced() {
        next.step(Who::Machine, Act::WriteBack, |state| state.store.durable = state.store.visible);
    }
}

/// Gathers the steps from one state.
pub(super) struct Next {
    pub(super) state: State,
    pub(super) rules: Rules,
    steps: Vec<(Step, State)>,
}

impl Next {
    pub(super) fn keep(&self, rule: Rule) -> bool {
        self.rules.keep(rule)
    }

    /// Adds a step.
    pub(super) fn step(&mut self, who: Who, act: Act, change: impl FnOnce(&mut State)) {
        let mut after = self.state;
        change(&mut after);
        self.steps.push((Step { who, act }, after));
    }
}
