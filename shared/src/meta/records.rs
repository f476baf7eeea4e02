//! What goes into the metadata store and comes out of it: uploads and their ends, deliveries and their tries, dead letters.

use std::time::Duration;

use crate::model::{Envelope, EventId, EventType, Job, Object, Scope, Seal, State, Timestamp, UploadId};

/// One upload's end, to be written.
#[derive(Clone, PartialEq, Debug)]
pub struct Record {
    /// Which upload.
    pub id: UploadId,
    /// What the client said.
    pub envelope: Envelope,
    /// What the bytes were.
    pub seal: Seal,
    /// `None`: it is stored. Otherwise it failed, with this code (one of `docs/error-codes.md`).
    pub failure: Option<&'static str>,
}

/// What a record led to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The object is there, with this version of its path.
    Stored {
        /// Counts the objects of a path from 1.
        version: u64,
    },
    /// It was recorded as failed, as the record said, or because its path was taken though it had to be free (`exists`).
    Failed {
        /// A code of `docs/error-codes.md`.
        reason: &'static str,
    },
    /// The ledger knew it already; nothing changed.
    Known(State),
}

/// What a deletion led to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Deleted {
    /// It is deleted now.
    Now,
    /// It was deleted (or had failed) before.
    Before,
    /// There is no such upload in this scope.
    Unknown,
}

/// An upload that has come to an end.
#[derive(Clone, PartialEq, Debug)]
pub enum Found {
    /// It is an object.
    Stored(Object),
    /// It failed.
    Failed {
        /// A code of `docs/error-codes.md`.
        reason: String,
    },
    /// It was deleted.
    Deleted,
}

/// What a scope uses.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Usage {
    /// All versions that are not deleted.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Who wants to know what.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Receiver {
    /// Its URL, which also names it.
    pub url: String,
    /// The events it wants; all of them when empty.
    pub events: Vec<EventType>,
}

/// One event for one receiver.
#[derive(Clone, PartialEq, Debug)]
pub struct Delivery {
    /// The event's id, the same at every try.
    pub event: EventId,
    /// To whom.
    pub receiver: String,
    /// The body: a CloudEvent in JSON.
    pub payload: String,
    /// When the event happened.
    pub time: Timestamp,
    /// How many tries there were before.
    pub tries: u32,
}

/// A try to deliver, and what is to come of it.
#[derive(Clone, PartialEq, Debug)]
pub struct Attempt {
    /// Of which event.
    pub event: EventId,
    /// To whom.
    pub receiver: String,
    /// When.
    pub at: Timestamp,
    /// The status that was answered, if any.
    pub status: Option<u16>,
    /// What went wrong, in a few words.
    pub error: Option<String>,
    /// How long it took.
    pub took: Duration,
    /// What is next.
    pub next: Next,
}

/// What is next for a delivery.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// Nothing: it was delivered.
    Delivered,
    /// Another try, not before.
    Retry(Timestamp),
    /// Nothing: it was given up.
    GivenUp,
}

/// What waits in the outbox.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Backlog {
    /// Events without deliveries yet, and deliveries not ended.
    pub pending: u64,
    /// When the oldest of them happened.
    pub oldest: Option<Timestamp>,
}

/// A line of the delivery log.
#[derive(Clone, PartialEq, Debug)]
pub struct LogEntry {
    /// The try.
    pub attempt: Attempt,
    /// Which try it was, from 1.
    pub number: u32,
}

/// A job that came to a bad end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeadLetter {
    /// The job.
    pub job: Job,
    /// Why, with all causes.
    pub error: String,
    /// When it was given up.
    pub at: Timestamp,
}

/// A row of the ledger.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LedgerRow {
    /// Which upload.
    pub id: UploadId,
    /// Whose.
    pub scope: Scope,
    /// Its end.
    pub state: State,
    /// Whether a failed or deleted upload's bytes are known to be gone.
    pub purged: bool,
    /// In bytes; 0 unless stored.
    pub size: u64,
}
