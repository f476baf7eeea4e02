//! SQLite files, opened in one way: write-ahead log, foreign keys, a busy timeout, and migrations in order.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags};

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

fn migrate(connection: &mut Connection, migrations: &[&str]) -> Result<(), OpenError> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let version: u32 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let version = version as usize;
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
}
