//! Metadata: the ledger that knows every upload's end, the objects, what each scope uses, the outbox of events, and the dead letters.
//!
//! One backend implements all of these traits over one database, so that a batch is one transaction: ledger, objects, usage and
//! outbox change together or not at all.

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod event;
pub mod postgres;
mod records;
pub mod sqlite;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;

pub use event::{deletion, event};
pub use records::{
    Attempt, Backlog, DeadLetter, Deleted, Delivery, Found, LedgerRow, LogEntry, Next, Receiver, Record,
    Usage, Verdict,
};

use crate::model::{Envelope, EventId, EventType, Object, ObjectPath, Scope, State, Timestamp, UploadId};

/// Everything that a process may want of the metadata.
pub trait Store: Ledger + Catalog + Outbox + DeadLetters + Audit + Leaders {}
impl<T: Ledger + Catalog + Outbox + DeadLetters + Audit + Leaders> Store for T {}

/// The write side: what became of every upload.
#[async_trait]
pub trait Ledger: Send + Sync + fmt::Debug {
    /// Writes a batch in one transaction. An upload that the ledger knows changes nothing, whatever the record says; so a batch may
    /// be repeated. For the others: the ledger's row, the object with its path's next version, the scope's usage and the event are
    /// written together. The verdicts come in the batch's order. A record that brings its failure along is entered as purged: what the
    /// store said of its bytes may be wrong, and then they are all that is left of an upload.
    ///
    /// # Errors
    /// [`Error::Rejected`] when one of the records cannot be stored: then none is; the caller bisects.
    async fn persist(&self, batch: &[Record], at: Timestamp) -> Result<Vec<Verdict>, Error>;

    /// Deletes an object: ledger, usage and event in one transaction; the bytes are the caller's to remove, then
    /// [`Ledger::purged`]. An upload that the ledger does not know yet (its job is still queued) gets its tombstone now, and its
    /// job will find it. Deleting again is no error.
    ///
    /// # Errors
    /// When the database cannot be reached.
    async fn delete(
        &self,
        scope: &Scope,
        id: UploadId,
        envelope: Option<&Envelope>,
        at: Timestamp,
    ) -> Result<Deleted, Error>;

    /// The bytes of these failed or deleted uploads are gone.
    ///
    /// # Errors
    /// When the database cannot be reached.
    async fn purged(&self, ids: &[UploadId]) -> Result<(), Error>;

    /// Failed and deleted uploads whose bytes may still be there, oldest first, at most `limit`.
    ///
    /// # Errors
    /// When the database cannot be reached.
    async fn unpurged(&self, limit: usize) -> Result<Vec<(Scope, UploadId)>, Error>;

    /// What the ledger knows of each upload, in the order asked; `None` for one that it does not know.
    ///
    /// # Errors
    /// When the database cannot be reached: then nothing is known, and not "no row".
    async fn states(&self, ids: &[UploadId]) -> Result<Vec<Option<State>>, Error>;

    /// Forgets ledger rows of purged uploads, events that were delivered, and deliveries that nobody takes, from before `before`; says how
    /// many rows and events went.
    /// The number of a deleted version may be given again once its upload is forgotten and no newer version is there.
    ///
    /// # Errors
    /// When the database cannot be reached.
    async fn prune(&self, before: Timestamp) -> Result<u64, Error>;

    /// Up to when everything was looked for that the ledger does not know; `None` when nobody has looked yet.
    ///
    /// # Errors
    /// When the database cannot be reached.
    async fn swept(&self) -> Result<Option<Timestamp>, Error>;

    /// Everything was looked for up to `at`.
    ///
    /// # Errors
    /// When the database cannot be reached.
    async fn set_swept(&self, at: Timestamp) -> Result<(), Error>;

    /// Which content of the queue the last complete deep sweep saw; `None` when there was none. A queue that was emptied or is an
    /// older copy has another content, and what it has lost must be looked for.
    ///
    /// # Errors
    /// When the database cannot be reached.
    async fn queue_seen(&self) -> Result<Option<String>, Error>;

    /// A complete deep sweep saw this content of the queue.
    ///
    /// # Errors
    /// When the database cannot be reached.
    async fn set_queue_seen(&self, content: &str) -> Result<(), Error>;
}

/// The read side.
#[async_trait]
pub trait Catalog: Send + Sync + fmt::Debug {
    /// The end of an upload in `scope`; `None` while it has none.
    ///
    /// # Errors
    /// When the database cannot be reached.
    async fn find(&self, scope: &Scope, id: UploadId) -> Result<Option<Found>, Error>;

    /// The newest version at a path that is not deleted.
    ///
    /// # Errors
    /// When the database cannot be reached.
    async fn at_path(&self, scope: &Scope, path: &ObjectPath) -> Result<Option<Object>, Error>;

    /// The newest versions in `scope` whose path begins with `prefix`, in the order of paths (bytewise), from behind `after`, at
    /// most `limit`. Deleted objects are left out.
    ///
    /// # Errors
    /// When the database cannot be reached.
    async fn list(
        &self,
        scope: &Scope,
        prefix: &str,
        after: Option<&ObjectPath>,
        limit: usize,
    ) -> Result<Vec<Object>, Error>;

    /// All versions of a path that are not deleted, newest first, at most `limit`.
    ///
    /// # Errors
    /// When the database cannot be reached.
    async fn versions(&self, scope: &Scope, path: &ObjectPath, limit: usize) -> Result<Vec<Object>, Error>;

    /// What a scope uses.
    ///
    /// # Errors
    /// When the database cannot be reached.
    async fn usage(&self, scope: &Scope) -> Result<Usage, Error>;
}

/// Events on their way to their receivers.
#[async_trait]
pub trait Outbox: Send + Sync + fmt::Debug {
    /// Makes deliveries of up to `limit` events that have none yet, one for each receiver that wants the event's type, and says how
    /// many events it took. An event that nobody wants is done with.
    ///
    /// # Errors
    /// When the database cannot be reached.
    async fn relay(&self, receivers: &[Receiver], limit: usize, at: Timestamp) -> Result<usize, Error>;

    /// Takes up to `limit` deliveries to `receiver` that are due, and sets their next try to `at + lease`, so that a crash only delays them.
    ///
    /// # Errors
    /// When the database cannot be reached.
    async fn due(
        &self,
        receiver: &str,
        limit: usize,
        at: Timestamp,
        lease: Duration,
    ) -> Result<Vec<Delivery>, Error>;

    /// Writes what came of a try into the delivery, and a line into the delivery log. A delivery that has ended stays as it is,
    /// and the try leaves no line: it was told before, or another one came first.
    ///
    /// # Errors
    /// When the database cannot be reached.
    async fn settle(&self, attempts: &[Attempt]) -> Result<(), Error>;

    /// Disables a receiver (it answered 410), or enables it again; its deliveries wait meanwhile.
    ///
    /// # Errors
    /// When the database cannot be reached.
    async fn set_disabled(&self, receiver: &str, disabled: bool, at: Timestamp) -> Result<(), Error>;

    /// The receivers that are disabled.
    ///
    /// # Errors
    /// When the database cannot be reached.
    async fn disabled(&self) -> Result<Vec<String>, Error>;

    /// How many deliveries and unrelayed events wait, and since when the oldest.
    ///
    /// # Errors
    /// When the database cannot be reached.
    async fn backlog(&self) -> Result<Backlog, Error>;

    /// The delivery log, newest first, at most `limit`.
    ///
    /// # Errors
    /// When the database cannot be reached.
    async fn log(&self, limit: usize) -> Result<Vec<LogEntry>, Error>;
}

/// Jobs that came to a bad end and wait for a person.
#[async_trait]
pub trait DeadLetters: Send + Sync + fmt::Debug {
    /// Keeps a dead job; burying it again replaces the letter.
    ///
    /// # Errors
    /// When the database cannot be reached.
    async fn bury(&self, letter: &DeadLetter) -> Result<(), Error>;

    /// The dead letters, newest first, from behind `after`, at most `limit`. What was buried since `after` was read comes before it.
    ///
    /// # Errors
    /// When the database cannot be reached.
    async fn dead(&self, after: Option<&DeadLetter>, limit: usize) -> Result<Vec<DeadLetter>, Error>;

    /// One dead letter.
    ///
    /// # Errors
    /// When the database cannot be reached.
    async fn dead_letter(&self, id: UploadId) -> Result<Option<DeadLetter>, Error>;

    /// Removes this letter, because its job was queued again or discarded; says whether it was there. One that replaced it meanwhile
    /// stays.
    ///
    /// # Errors
    /// When the database cannot be reached.
    async fn discard(&self, letter: &DeadLetter) -> Result<bool, Error>;

    /// How many there are.
    ///
    /// # Errors
    /// When the database cannot be reached.
    async fn dead_count(&self) -> Result<u64, Error>;
}

/// Questions of `headworks audit`.
#[async_trait]
pub trait Audit: Send + Sync + fmt::Debug {
    /// The ledger in the order of ids, from behind `after`, at most `limit` rows.
    ///
    /// # Errors
    /// When the database cannot be reached.
    async fn ledger_page(&self, after: Option<UploadId>, limit: usize) -> Result<Vec<LedgerRow>, Error>;

    /// Compares what is derived with what it is derived from, within one snapshot; a line for each contradiction: usage that does not
    /// add up, an object without its ledger row or a stored row without its object, an event missing or there twice, versions of a
    /// path with gaps at the end or doubles.
    ///
    /// # Errors
    /// When the database cannot be reached.
    async fn contradictions(&self) -> Result<Vec<String>, Error>;

    /// All events of an upload, in order. Reads all that there are.
    ///
    /// # Errors
    /// When the database cannot be reached.
    async fn events_of(&self, id: UploadId) -> Result<Vec<(EventId, EventType)>, Error>;
}

/// Who of many processes does what only one should do.
#[async_trait]
pub trait Leaders: Send + Sync + fmt::Debug {
    /// Asks for the lead in `role`; `None` while another one leads. The lead is given back when it is dropped, and lost when the
    /// database is: so it saves work that is done twice, and must not be relied on where that would do harm.
    ///
    /// # Errors
    /// When the database cannot be reached.
    async fn lead(&self, role: &str) -> Result<Option<Box<dyn Lead>>, Error>;
}

/// The lead in a role.
#[async_trait]
pub trait Lead: Send + Sync + fmt::Debug {
    /// Whether it is still ours. One that was lost does not come back.
    async fn stands(&self) -> bool;
}

/// The database did not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// A record of the batch cannot be stored, now or later.
    #[error("store a record")]
    Rejected(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// The database cannot be reached, or failed; later it may work.
    #[error("reach the metadata store")]
    Unavailable(#[source] Arc<dyn std::error::Error + Send + Sync>),
}
