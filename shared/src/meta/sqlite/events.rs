//! Appends events. They are numbered without gaps, in the order of their transactions, which one writer makes possible: so what is
//! not relayed yet is a range behind one number, and costs no mark on each event.

use rusqlite::{CachedStatement, Connection};

use super::rows;
use crate::model::Event;

type Result<T> = rusqlite::Result<T>;

/// The last number given. `relayed` counts where all relayed events have been forgotten.
pub(super) const LAST: &str = "SELECT max(relayed, coalesce((SELECT max(seq) FROM events), 0)) FROM progress";

const APPEND: &str =
    "INSERT INTO events (seq, upload, type, id, time, payload) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";

/// Appends events to the outbox, within one transaction.
pub(super) struct Appender<'c> {
    append: CachedStatement<'c>,
    last: i64,
}

impl<'c> Appender<'c> {
    pub(super) fn open(connection: &'c Connection) -> Result<Self> {
        let last = last(connection)?;
        Ok(Self { append: connection.prepare_cached(APPEND)?, last })
    }

    pub(super) fn append(&mut self, event: &Event) -> Result<()> {
        let payload = event.to_cloud_event();
        let (upload, id) = (event.upload, event.id());
        self.last += 1;
        self.append.execute((
            self.last,
            upload.as_bytes(),
            event.kind().as_str(),
            id.as_bytes(),
            rows::ms(event.time)?,
            payload,
        ))?;
        Ok(())
    }
}

/// The number of the last event.
pub(super) fn last(connection: &Connection) -> Result<i64> {
    connection.prepare_cached(LAST)?.query_row([], |row| row.get(0))
}
