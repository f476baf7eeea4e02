//! Metadata in one SQLite file. One thread writes, and commits together what waits together; readers each see a snapshot and
//! never wait for it. What was answered survives a power cut (`synchronous = FULL`).

mod audit;
mod catalog;
mod dead_letters;
mod events;
mod leaders;
mod ledger;
mod outbox;
mod persist;
mod prune;
mod relay;
mod rows;
#[cfg(test)]
mod tests;

use std::{path::Path, sync::Arc, time::Duration};

use rusqlite::{Connection, ErrorCode};

use super::Error;
use crate::sqlite::{self, Deadlines, OpenError, Readers, Synchronous, Writer};

/// Each takes the tables from its place to the next version.
const MIGRATIONS: &[&str] = &[include_str!("migrations/0001_metadata.sql")];

/// How long a statement may take, once it has its turn.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an audit may take: it reads everything, about a million uploads in ten seconds.
const AUDIT_TIMEOUT: Duration = Duration::from_secs(1800);

/// The writer's page cache: the inner pages of all trees, and the leaves that a batch touches. 4 MiB, in SQLite's negative KiB.
const WRITER_CACHE_KIB: i32 = -(4 << 10);

const KNOWS_UPLOADS: &str = "SELECT EXISTS (SELECT 1 FROM ledger)";

/// Metadata in a SQLite file. Dropping it waits for the transaction in progress and closes the file.
#[derive(Debug)]
pub struct SqliteMeta {
    // Dropped in this order: the last connection to close takes the log with it, and only the writer's may do so.
    readers: Readers,
    auditors: Readers,
    writer: Option<Writer>,
    knows_uploads: bool,
}

/// How a file is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// The most connections for reading.
    pub pool: usize,
    /// The longest wait for one of them, or for the writer to take up a batch.
    pub acquire_timeout: Duration,
}

impl SqliteMeta {
    /// Opens the file at `path`, makes it if need be, and brings its tables up to date.
    ///
    /// # Errors
    /// When it cannot be opened or written, or was made by a newer Headworks.
    pub fn open(path: &Path, options: Options) -> Result<Self, OpenError> {
        let connection = sqlite::open(path, Synchronous::Full, MIGRATIONS)?;
        connection.pragma_update(None, "cache_size", WRITER_CACHE_KIB)?;
        let knows_uploads = connection.query_row(KNOWS_UPLOADS, [], |row| row.get(0))?;
        let writer = Writer::start(connection, "metadata writer", options.deadlines(ANSWER_TIMEOUT))?;
        Ok(Self { writer: Some(writer), knows_uploads, ..Self::open_to_read(path, options)? })
    }

    /// Whether the ledger knew any upload when it was opened to be written.
    pub fn knows_uploads(&self) -> bool {
        self.knows_uploads
    }

    /// Opens the file at `path` to read it, beside the process that writes it. Whatever would write is an error.
    ///
    /// # Errors
    /// When there is no such file, or its tables have another version.
    pub fn open_to_read(path: &Path, options: Options) -> Result<Self, OpenError> {
        let version = MIGRATIONS.len();
        Ok(Self {
            readers: Readers::open(path, version, options.pool, options.deadlines(ANSWER_TIMEOUT))?,
            auditors: Readers::open(path, version, 1, options.deadlines(AUDIT_TIMEOUT))?,
            writer: None,
            knows_uploads: false,
        })
    }

    async fn write<T, W>(&self, work: W) -> Result<T, Error>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let writer = self.writer.as_ref().ok_or_else(|| Error::Unavailable(Arc::new(ReadOnly)))?;
        Ok(writer.call(work).await?)
    }

    async fn read<T, W>(&self, work: W) -> Result<T, Error>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        Ok(self.readers.call(work).await?)
    }
}

impl Options {
    fn deadlines(self, answer: Duration) -> Deadlines {
        Deadlines { turn: self.acquire_timeout, answer }
    }
}

/// What cannot be stored however often it is tried is told apart from what may work later.
impl From<sqlite::Error> for Error {
    fn from(error: sqlite::Error) -> Self {
        match error {
            sqlite::Error::Sqlite(cause) if lies_in_the_data(&cause) => Self::Rejected(cause),
            other => Self::Unavailable(Arc::new(other)),
        }
    }
}

fn lies_in_the_data(error: &rusqlite::Error) -> bool {
    match error {
        rusqlite::Error::ToSqlConversionFailure(_) => true,
        rusqlite::Error::SqliteFailure(failure, _) => {
            matches!(
                failure.code,
                ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch
            )
        }
        _ => false,
    }
}

#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the database is open to read only")]
struct ReadOnly;
