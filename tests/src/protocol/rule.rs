//! The decisions of the protocol, each with a switch, so that the search can show what each is for.

use super::sentences::sentences;

sentences! {
    /// A decision. What it is there for is in `tests::guarded`: the promise that breaks without it.
    pub enum Rule {
        CreateOnly = "a put never replaces an object",
        ObjectBeforeJob = "the object is durable before its job is pushed",
        RepeatComparesContent = "a repeat with other content is refused",
        RepeatWaitsForSync = "a repeat is answered when the object it found is durable, not when it is visible",
        RepeatAsksLedger = "a repeat of an upload that failed or was deleted is told so",
        LedgerDecides = "what the ledger knows already changes nothing (ON CONFLICT DO NOTHING)",
        CommitBeforeAnswer = "the lease is answered after the commit",
        UnclearIsNotMissing = "a store that cannot be reached says nothing about its objects",
        RejectedIsKept = "a record that the database will not take is a dead letter only: no row, so its bytes stay",
        TombstoneBeforeBytes = "a deletion writes its tombstone before it removes the bytes",
        TombstoneStays = "the ledger keeps the row of a deleted upload",
        RemovalIsSynced = "bytes count as removed when a power cut cannot bring them back",
        BytesBeforePurged = "the ledger is told that bytes are gone when they are",
        Sweep = "objects that the ledger does not know are adopted, bytes without worth removed",
        SweepLetsSettle = "the sweep adopts only what has been there for a while, and so is durable",
        SweepRemovesWhatItMeets = "the sweep removes bytes of deleted uploads also where the ledger takes them for gone",
        ReachOutlastsUploads = "an upload leaves the sweep's reach when its tries have ended and nothing of it is lost",
    }
}

/// The rules that are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules(u32);

impl Rules {
    /// Every one.
    pub const ALL: Self = Self((1 << Rule::ALL.len()) - 1);

    /// These rules but one.
    pub const fn without(self, rule: Rule) -> Self {
        Self(self.0 & !(1 << rule as u32))
    }

    /// Whether a rule is kept.
    pub const fn keep(self, rule: Rule) -> bool {
        self.0 & (1 << rule as u32) != 0
    }
}
