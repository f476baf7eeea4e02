//! What is in the metadata file, counted past Headworks.

use std::path::Path;

use anyhow::{Context as _, Result};
use rusqlite::{Connection, OpenFlags};

/// The rows of the tables that an upload leaves something in.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Rows {
    /// One for each upload that has come to an end.
    pub ledger: i64,
    /// One for each object that is there.
    pub objects: i64,
    /// One for each thing that happened.
    pub events: i64,
}

impl Rows {
    /// Counts them, also beside a process that writes.
    ///
    /// # Errors
    /// When there is no such file, or other tables are in it.
    pub fn count(data: &Path) -> Result<Self> {
        let path = data.join("headworks.db");
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let file = Connection::open_with_flags(&path, flags).with_context(|| path.display().to_string())?;
        file.busy_timeout(crate::DEADLINE)?;
        let count = "SELECT (SELECT count(*) FROM ledger), (SELECT count(*) FROM objects), \
             (SELECT count(*) FROM events)";
        let row = |row: &rusqlite::Row<'_>| -> rusqlite::Result<Self> {
            Ok(Self { ledger: row.get(0)?, objects: row.get(1)?, events: row.get(2)? })
        };
        Ok(file.query_row(count, [], row)?)
    }
}
