//! SQLite files, opened in one way: write-ahead log, foreign keys, a busy timeout, and migrations in order. Used in one way
//! too: one thread writes ([`Writer`]), a bounded pool reads ([`Readers`]), and no call waits for ever ([`Deadlines`]).

mod readers;
mod writer;

use std::{path::Path, sync::Arc, time::Duration};

pub use readers::Readers;
pub use writer::Writer;

use rusqlite::{Connection, OpenFlags};

/// 16 MiB of 4 KiB pages.
const CHECKPOINT_PAGES: u32 = 4096;

/// The log is cut down to this after a checkpoint, if a long read made it grow.
const MAX_IDLE_LOG_BYTES: u32 = 64 << 20;

/// How much of what was committed survives a power cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Synchronous {
    /// All of it: a sync for each transaction.
    Full,
    /// All but the last transactions; what is there is whole.
    Normal,
}

/// Opens a database file for its one writer, makes it if need be, and brings its tables up to date: `migrations[n]` takes it from
/// version n to n + 1 (`PRAGMA user_version`).
///
/// # Errors
/// When the file cannot be opened or written, or was made by a newer Headworks.
pub fn open(path: &Path, synchronous: Synchronous, migrations: &[&str]) -> Result<Connection, OpenError> {
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(
        None,
        "synchronous",
        match synchronous {
            Synchronous::Full => "FULL",
            Synchronous::Normal => "NORMAL",
        },
    )?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // A checkpoint syncs the file and writes each page once, however often it changed: so it is better done seldom.
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "journal_size_limit", MAX_IDLE_LOG_BYTES)?;
    // What savepoints need to roll back is small and short-lived.
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.set_prepared_statement_cache_capacity(64);
    migrate(&mut connection, migrations)?;
    Ok(connection)
}

/// Opens a database file to read it, beside its writer.
///
/// # Errors
/// When there is no such file.
pub fn open_to_read(path: &Path) -> Result<Connection, OpenError> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// Makes sure that a database that was opened to read has the tables that are expected.
///
/// # Errors
/// When it was made by an older or a newer Headworks, or cannot be read.
pub fn check_version(connection: &Connection, known: usize) -> Result<(), OpenError> {
    let version = version(connection)?;
    match version.cmp(&known) {
        std::cmp::Ordering::Less => Err(OpenError::Older { version, known }),
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Greater => Err(OpenError::Newer { version, known }),
    }
}

fn version(connection: &Connection) -> Result<usize, OpenError> {
    let version: u32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    Ok(version as usize)
}

fn migrate(connection: &mut Connection, migrations: &[&str]) -> Result<(), OpenError> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let version = version(&transaction)?;
    let Some(pending) = migrations.get(version..) else {
        return Err(OpenError::Newer { version, known: migrations.len() });
    };
    for migration in pending {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "user_version", u32::try_from(migrations.len()).unwrap_or(u32::MAX))?;
    transaction.commit()?;
    Ok(())
}

/// How long a call may wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Deadlines {
    /// For its turn: a place in the writer's line, or a free connection.
    pub turn: Duration,
    /// For its answer, from then on.
    pub answer: Duration,
}

/// A call came to nothing. What it would have written is not there, unless it is [`Error::Late`].
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// SQLite says no.
    #[error("run a statement")]
    Sqlite(#[source] Arc<rusqlite::Error>),
    /// There is no connection to run it on.
    #[error("open a connection")]
    Open(#[source] Arc<OpenError>),
    /// Others were in front of it all the time.
    #[error("no turn at the database within {0:?}")]
    Busy(Duration),
    /// It took too long. A write may still be done.
    #[error("no answer from the database within {0:?}")]
    Late(Duration),
    /// The thread that should answer has ended.
    #[error("the database is closed")]
    Closed,
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(Arc::new(error))
    }
}

/// A database file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// SQLite says no.
    #[error("open the database")]
    Sqlite(#[from] rusqlite::Error),
    /// A newer Headworks made the file.
    #[error("the database has version {version}, this Headworks knows up to {known}: use the newer one")]
    Newer {
        /// The file's version.
        version: usize,
        /// The newest version known here.
        known: usize,
    },
    /// An older Headworks made the file, and it was opened to read only.
    #[error("the database has version {version}, this Headworks needs {known}: run `headworks migrate`")]
    Older {
        /// The file's version.
        version: usize,
        /// The version needed here.
        known: usize,
    },
    /// The machine gives no thread.
    #[error("start the writer's thread")]
    Thread(#[from] std::io::Error),
}
