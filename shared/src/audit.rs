//! Checks that nothing was lost and nothing leaked: what storage holds against what the ledger says, both ways, and the metadata
//! against itself.
//!
//! It may run beside a live system. What is merely on its way is no finding: each doubt is put to the ledger again after storage
//! was asked, and the order in which Headworks writes (object, row; tombstone, bytes) makes that answer final. Memory is one page.

use std::{collections::HashSet, fmt, future::poll_fn, time::Duration};

use crate::{
    meta::{self, Found, LedgerRow},
    model::{Digests, Hasher, Scope, State, Timestamp, UploadId},
    report::Report,
    storage::{self, Blobs, Content, Head, Key, Listed, Prefix},
};

/// How many objects or rows are looked at in one step.
const PAGE: usize = 500;

/// How to check.
#[derive(Clone, Debug)]
pub struct Options {
    /// This moment.
    pub now: Timestamp,
    /// How old an object must be to need its row, or to be gone for good: more than the sweep's `settle` and `every` together.
    pub settle: Duration,
    /// Uploads whose jobs are on the queue, however old: they have no row yet.
    pub waiting: HashSet<UploadId>,
    /// Whether every stored object's bytes are read and hashed.
    pub deep: bool,
}

/// What was looked at.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Audit {
    /// Objects in storage.
    pub objects: u64,
    /// Rows of the ledger.
    pub rows: u64,
    /// Bytes that were read and hashed.
    pub bytes_read: u64,
    /// Contradictions that were reported.
    pub findings: u64,
}

/// Something that ought not to be; one line each.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Finding {
    /// An object that the ledger should know, and neither it nor the queue does.
    Unrecorded {
        /// The object.
        key: Key,
        /// Since when it is in storage.
        modified: Timestamp,
    },
    /// The ledger says stored, but there are no bytes.
    Missing {
        /// Where they should be.
        key: Key,
    },
    /// Storage has another number of bytes than the ledger says.
    Size {
        /// The object.
        key: Key,
        /// What the ledger says, in bytes.
        recorded: u64,
        /// What storage has, in bytes.
        stored: u64,
    },
    /// The bytes of a failed or deleted upload are there, and nobody will remove them.
    Leaked {
        /// The object.
        key: Key,
        /// Its end.
        state: State,
    },
    /// The bytes are not those that were received.
    Damaged {
        /// The object.
        key: Key,
        /// What the metadata says.
        recorded: Digests,
        /// What the bytes add up to.
        stored: Digests,
    },
    /// Storage does not hand out an object.
    Unreadable {
        /// The object.
        key: Key,
        /// Why.
        error: String,
    },
    /// The job of an upload is a dead letter: its object has no row until somebody retries it.
    Dead {
        /// The upload.
        id: UploadId,
        /// Why it is dead.
        error: String,
    },
    /// The metadata contradicts itself.
    Contradiction(String),
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unrecorded { key, modified } => {
                write!(
                    f,
                    "unrecorded: object {key} is there since {modified}, and the ledger has no row for it"
                )
            }
            Self::Missing { key } => {
                write!(f, "missing: the ledger says stored, but there is no object {key}")
            }
            Self::Size { key, recorded, stored } => {
                write!(f, "size: object {key} has {stored} bytes, the ledger says {recorded}")
            }
            Self::Leaked { key, state } => {
                write!(
                    f,
                    "leaked: upload is {}, but object {key} is there, and nobody will remove it",
                    state.as_str()
                )
            }
            Self::Damaged { key, recorded, stored } => {
                let (stored, recorded) = (stored.to_header(), recorded.to_header());
                write!(f, "damaged: object {key} has the digest {stored}, the metadata says {recorded}")
            }
            Self::Unreadable { key, error } => write!(f, "unreadable: object {key}: {error}"),
            Self::Dead { id, error } => {
                write!(f, "dead: upload {id} waits for `headworks queue dead retry {id}`: {error}")
            }
            Self::Contradiction(line) => write!(f, "contradiction: {line}"),
        }
    }
}

/// The audit came to no end, so it says nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Storage could not be listed.
    #[error("audit storage")]
    Storage(#[from] storage::Error),
    /// The metadata could not be asked.
    #[error("audit metadata")]
    Meta(#[from] meta::Error),
}

/// Checks everything, and tells each finding as it is found.
///
/// # Errors
/// When storage or metadata cannot be asked: what was found until then is true, what was not is unknown.
pub async fn audit(
    blobs: &dyn Blobs,
    meta: &dyn meta::Store,
    options: &Options,
    tell: &mut (dyn FnMut(&Finding) + Send),
) -> Result<Audit, Error> {
    let mut auditor = Auditor { blobs, meta, options, tell, audit: Audit::default() };
    auditor.storage_against_ledger().await?;
    auditor.ledger_against_storage().await?;
    for line in meta.contradictions().await? {
        auditor.found(&Finding::Contradiction(line));
    }
    Ok(auditor.audit)
}

struct Auditor<'a> {
    blobs: &'a dyn Blobs,
    meta: &'a dyn meta::Store,
    options: &'a Options,
    tell: &'a mut (dyn FnMut(&Finding) + Send),
    audit: Audit,
}

impl Auditor<'_> {
    fn found(&mut self, finding: &Finding) {
        self.audit.findings += 1;
        (self.tell)(finding);
    }

    fn is_settled(&self, modified: Timestamp) -> bool {
        self.options.now.since(modified) >= self.options.settle
    }

    /// Every settled object has its row.
    async fn storage_against_ledger(&mut self) -> Result<(), Error> {
        let mut after: Option<Key> = None;
        loop {
            let page = self.blobs.list(&Prefix::objects(), after.as_ref(), PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.key.clone());
            self.audit.objects += page.len() as u64;
            self.rows_of(page).await?;
        }
    }

    /// A row, once written, outlives its bytes; so a settled object without one has never had one.
    async fn rows_of(&mut self, page: Vec<Listed>) -> Result<(), Error> {
        let needs_row = |listed: Listed| {
            let (_, id) = listed.key.upload()?;
            let due = self.is_settled(listed.modified) && !self.options.waiting.contains(&id);
            due.then_some((id, listed))
        };
        let (ids, objects): (Vec<_>, Vec<_>) = page.into_iter().filter_map(needs_row).unzip();
        let states = self.meta.states(&ids).await?;
        for (Listed { key, modified, .. }, state) in objects.into_iter().zip(states) {
            let Some((_, id)) = key.upload().filter(|_| state.is_none()) else { continue };
            let finding = match self.meta.dead_letter(id).await? {
                Some(letter) => Finding::Dead { id, error: letter.error },
                None => Finding::Unrecorded { key, modified },
            };
            self.found(&finding);
        }
        Ok(())
    }

    /// Every stored row has its object, and no row that was cleaned up has one.
    async fn ledger_against_storage(&mut self) -> Result<(), Error> {
        let mut after = None;
        loop {
            let page = self.meta.ledger_page(after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.id);
            self.audit.rows += page.len() as u64;
            let keys: Vec<_> = page.iter().map(|row| Key::object(&row.scope, row.id)).collect();
            let heads = self.blobs.stat(&keys).await;
            for ((row, key), head) in page.into_iter().zip(keys).zip(heads) {
                self.object_of(&row, key, head).await?;
            }
        }
    }

    async fn object_of(
        &mut self,
        row: &LedgerRow,
        key: Key,
        head: Result<Head, storage::Error>,
    ) -> Result<(), Error> {
        match (row.state, head) {
            (State::Stored, Ok(head)) if head.size != row.size => {
                self.found(&Finding::Size { key, recorded: row.size, stored: head.size });
            }
            (State::Stored, Ok(_)) if self.options.deep => self.bytes_of(&row.scope, row.id, key).await?,
            (State::Stored, Err(storage::Error::NotFound)) => self.missing(row.id, key).await?,
            (State::Failed | State::Deleted, Ok(head)) if row.purged && self.is_settled(head.modified) => {
                self.found(&Finding::Leaked { key, state: row.state });
            }
            (_, Ok(_) | Err(storage::Error::NotFound)) => {}
            (_, Err(error)) => self.unreadable(key, &error),
        }
        Ok(())
    }

    /// The tombstone comes before the bytes go: a row that still says stored after they are gone has lost them.
    async fn missing(&mut self, id: UploadId, key: Key) -> Result<(), Error> {
        if self.meta.states(&[id]).await?.contains(&Some(State::Stored)) {
            self.found(&Finding::Missing { key });
        }
        Ok(())
    }

    fn unreadable(&mut self, key: Key, error: &storage::Error) {
        self.found(&Finding::Unreadable { key, error: Report(error).to_string() });
    }

    async fn bytes_of(&mut self, scope: &Scope, id: UploadId, key: Key) -> Result<(), Error> {
        let Some(Found::Stored(object)) = self.meta.find(scope, id).await? else { return Ok(()) };
        let hasher = Hasher::new(object.digests.sha256.is_some(), false);
        let read = match self.blobs.read(&key, None).await {
            Ok(content) => self.hash(content, hasher).await,
            Err(error) => Err(error),
        };
        match read {
            Ok(stored) if stored == object.digests => Ok(()),
            Ok(stored) => {
                self.found(&Finding::Damaged { key, recorded: object.digests, stored });
                Ok(())
            }
            Err(storage::Error::NotFound) => self.missing(id, key).await,
            Err(error) => {
                self.unreadable(key, &error);
                Ok(())
            }
        }
    }

    async fn hash(&mut self, mut content: Content, mut hasher: Hasher) -> Result<Digests, storage::Error> {
        while let Some(chunk) = poll_fn(|context| content.chunks.as_mut().poll_next(context)).await {
            let chunk = chunk?;
            self.audit.bytes_read += chunk.len() as u64;
            hasher.update(&chunk);
        }
        Ok(hasher.digests())
    }
}

#[cfg(test)]
mod tests;
