//! What is remembered, where, and how far everybody has come. All of it is plain data: two states are the same when they are equal.

/// The whole system, as far as one upload is concerned.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct State {
    pub(super) tries: [Try; 2],
    pub(super) store: Store,
    pub(super) queue: Queue,
    pub(super) worker: Worker,
    pub(super) sweep: Sweep,
    pub(super) deletion: Deletion,
    pub(super) ledger: Ledger,
    /// Whether the sweep still looks as far back as this upload began.
    pub(super) in_reach: bool,
}

/// What a body holds. The second try brings the same as the first, or (against the rules of its key) something else.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Content {
    One,
    Other,
}

/// One request of the client for this upload; both have its `Idempotency-Key`, so both have its id.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Try {
    pub(super) content: Content,
    pub(super) stage: Stage,
    /// It began when the upload was deleted already.
    pub(super) too_late: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Stage {
    /// Not sent yet; perhaps it never will be.
    Waiting,
    /// Only without [`super::Rule::ObjectBeforeJob`]: the job is pushed before the body.
    Announcing,
    /// The body comes in; nothing is visible.
    Streaming,
    /// The object is visible, put by this try or by the other one; its folder is being synced.
    Syncing(Content),
    /// The object is as safe as it will be; its job is next, and then the answer.
    Pushing(Content),
    /// The client was told that the object is safe. That the answer may be lost on its way makes it no less a promise.
    Acknowledged,
    /// The client has an error, or nothing at all.
    Ended,
}

impl Try {
    /// It gets no receipt.
    pub(super) fn ended(self) -> Self {
        Self { stage: Stage::Ended, too_late: false, ..self }
    }
}

impl Stage {
    /// Whether ingest is at work on it.
    pub(super) fn is_under_way(self) -> bool {
        !matches!(self, Self::Waiting | Self::Acknowledged | Self::Ended)
    }
}

/// One place in the object store.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Store {
    /// What everybody sees.
    pub(super) visible: Option<Content>,
    /// What is there after a power cut.
    pub(super) durable: Option<Content>,
}

impl Store {
    /// Whether the last change, put or removal, is durable.
    pub(super) fn is_synced(self) -> bool {
        self.visible == self.durable
    }
}

/// The queue: it has the job at most once. The job says what the bytes were.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Queue {
    Empty,
    Ready(Content),
    /// The worker answers for it.
    Leased(Content),
}

impl Queue {
    /// Puts a job in line; one that is there already changes nothing.
    pub(super) fn push(&mut self, job: Content) {
        if *self == Self::Empty {
            *self = Self::Ready(job);
        }
    }

    /// The lease is answered; one that lapsed changes nothing.
    pub(super) fn done(&mut self) {
        if let Self::Leased(_) = self {
            *self = Self::Empty;
        }
    }

    /// Whoever had the job gives it back, or is heard of no more.
    pub(super) fn give_back(&mut self) {
        if let Self::Leased(job) = *self {
            *self = Self::Ready(job);
        }
    }
}

/// How far the processor is with a job. It keeps on when its lease has lapsed: it does not know.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Worker {
    Idle,
    Claimed(Content),
    /// The record is to be written.
    Checked(Record),
    /// Only without [`super::Rule::CommitBeforeAnswer`]: the lease is answered, and nothing written.
    Answered(Record),
    /// The transaction is committed; the lease is to be answered.
    Written {
        worthless: bool,
    },
    Purging(Purge),
}

/// What is to be written of an upload.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Record {
    Sound(Content),
    /// Its object is missing, or is not what the job says.
    Failed,
}

/// The sweep, between two looks.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Sweep {
    Resting,
    /// It saw an object of which the ledger knew nothing.
    Adopting,
    Purging(Purge),
}

/// A user's deletion.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Deletion {
    None,
    /// Only without [`super::Rule::TombstoneBeforeBytes`]: the bytes are gone, and no tombstone is written.
    Bare,
    Purging(Purge),
}

/// What a purge does next.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Purge {
    RemoveBytes,
    TellLedger,
}

/// What the database knows of the upload. Every change of it is one transaction, and durable.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Ledger {
    pub(super) row: Row,
    /// How often the upload counts in its scope's usage.
    pub(super) usage: u8,
    /// How many `object.stored` were told. An `object.deleted` counts as one, because none may follow it.
    pub(super) told_stored: u8,
    /// How many `object.deleted` were told.
    pub(super) told_deleted: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Row {
    None,
    /// None, but a dead letter, which a person will look at.
    DeadLetter,
    /// With its row in the catalog, which says what the bytes are.
    Stored(Content),
    Failed {
        purged: bool,
    },
    Deleted {
        purged: bool,
    },
}

impl Row {
    /// Whether there is a row.
    pub(super) fn is_known(self) -> bool {
        !matches!(self, Self::None | Self::DeadLetter)
    }

    /// Whether bytes may be there that are worth nothing.
    pub(super) fn is_unpurged(self) -> bool {
        matches!(self, Self::Failed { purged: false } | Self::Deleted { purged: false })
    }

    pub(super) fn note_purged(&mut self) {
        if let Self::Failed { purged } | Self::Deleted { purged } = self {
            *purged = true;
        }
    }

    /// Whether bytes are worth nothing: the upload has failed or was deleted.
    pub(super) fn is_worthless(self) -> bool {
        matches!(self, Self::Failed { .. } | Self::Deleted { .. })
    }
}

impl State {
    /// Before the first byte.
    pub(super) fn before(second: Content) -> Self {
        let waiting = |content| Try { content, stage: Stage::Waiting, too_late: false };
        Self {
            tries: [waiting(Content::One), waiting(second)],
            store: Store { visible: None, durable: None },
            queue: Queue::Empty,
            worker: Worker::Idle,
            sweep: Sweep::Resting,
            deletion: Deletion::None,
            ledger: Ledger { row: Row::None, usage: 0, told_stored: 0, told_deleted: 0 },
            in_reach: true,
        }
    }
}
