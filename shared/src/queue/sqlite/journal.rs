//! The file: one row for each job on the queue, and the SQL that keeps it so.
//!
//! There is no index beside the row number: who is next, and what is there already, is known in memory.

use std::path::Path;

use rusqlite::{CachedStatement, Connection, Row, Transaction, params};
use tokio::time::Instant;
use tracing::warn;

use super::super::state::{Kept, PutBack, State};
use crate::{
    model::{Job, Priority, Timestamp, UploadId},
    report::Report,
    sqlite::{OpenError, Synchronous},
};

/// `seq` is the entry's number, in the order of arrival; `priority` the place in `Priority::ALL`; times are milliseconds
/// since 1970, `due` 0 for a job that is not delayed.
const MIGRATIONS: &[&str] = &[JOBS, INCARNATION];

const JOBS: &str = "CREATE TABLE jobs (
    seq INTEGER PRIMARY KEY,
    id BLOB NOT NULL,
    priority INTEGER NOT NULL,
    tries INTEGER NOT NULL,
    deliveries INTEGER NOT NULL,
    due INTEGER NOT NULL,
    enqueued_at INTEGER NOT NULL,
    payload TEXT NOT NULL
) STRICT";

/// The file's own name: another file has another one.
const INCARNATION: &str = "CREATE TABLE incarnation (name TEXT NOT NULL) STRICT;
    INSERT INTO incarnation VALUES (lower(hex(randomblob(16))))";

const INSERT: &str = "INSERT INTO jobs (seq, id, priority, tries, deliveries, due, enqueued_at, payload)
    VALUES (?1, ?2, ?3, ?4, 0, 0, ?5, ?6)";
/// Counted before a worker has the job, so that a job that kills the process was counted.
const CLAIM: &str = "UPDATE jobs SET deliveries = deliveries + 1 WHERE seq BETWEEN ?1 AND ?2";
const AGAIN: &str = "UPDATE jobs SET tries = ?2, deliveries = ?3, due = ?4 WHERE seq = ?1";
const DELETE: &str = "DELETE FROM jobs WHERE seq BETWEEN ?1 AND ?2";
const LOAD: &str =
    "SELECT seq, id, priority, tries, deliveries, due, enqueued_at, payload FROM jobs ORDER BY seq";

/// Opens the file for its writer.
pub(super) fn open(path: &Path) -> Result<Connection, OpenError> {
    // What a power cut takes from the queue, the sweep makes again: no sync for each transaction.
    crate::sqlite::open(path, Synchronous::Normal, MIGRATIONS)
}

/// Names the file.
pub(super) fn incarnation(connection: &Connection) -> rusqlite::Result<String> {
    connection.query_row("SELECT name FROM incarnation", [], |row| row.get(0))
}

/// Gives the file a name that it never had, and says which.
pub(super) fn name_anew(connection: &Connection) -> rusqlite::Result<String> {
    let anew = "UPDATE incarnation SET name = lower(hex(randomblob(16))) RETURNING name";
    connection.query_row(anew, [], |row| row.get(0))
}

/// Gives the file another name if it still has this one.
pub(super) fn rename(connection: &Connection, from: &str, to: &str) -> rusqlite::Result<()> {
    connection.execute("UPDATE incarnation SET name = ?2 WHERE name = ?1", [from, to]).map(drop)
}

/// One transaction. Dropped before its commit, it changes nothing.
pub(super) struct Journal<'c> {
    transaction: Transaction<'c>,
    insert: CachedStatement<'c>,
    claim: CachedStatement<'c>,
    again: CachedStatement<'c>,
    delete: CachedStatement<'c>,
}

impl<'c> Journal<'c> {
    pub(super) fn begin(connection: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            transaction: connection.unchecked_transaction()?,
            insert: connection.prepare_cached(INSERT)?,
            claim: connection.prepare_cached(CLAIM)?,
            again: connection.prepare_cached(AGAIN)?,
            delete: connection.prepare_cached(DELETE)?,
        })
    }

    pub(super) fn push(
        &mut self,
        entry: u64,
        job: &Job,
        payload: &str,
        at: Timestamp,
    ) -> rusqlite::Result<()> {
        let (entry, at) = (whole(entry), whole(at.unix_ms()));
        self.insert.execute(params![
            entry,
            job.id.as_bytes(),
            index(job.priority),
            job.tries,
            at,
            payload
        ])?;
        Ok(())
    }

    /// These were handed out once more.
    pub(super) fn claim(&mut self, entries: Vec<u64>) -> rusqlite::Result<()> {
        each_run(&mut self.claim, entries)
    }

    pub(super) fn again(
        &mut self,
        entry: u64,
        back: PutBack,
        due: Option<Timestamp>,
    ) -> rusqlite::Result<()> {
        let due = due.map_or(0, |due| whole(due.unix_ms()));
        self.again.execute(params![whole(entry), back.tries, back.deliveries, due])?;
        Ok(())
    }

    /// These have left the queue.
    pub(super) fn done(&mut self, entries: Vec<u64>) -> rusqlite::Result<()> {
        each_run(&mut self.delete, entries)
    }

    pub(super) fn commit(self) -> rusqlite::Result<()> {
        self.transaction.commit()
    }
}

/// Executes `statement` once for each run of numbers without a gap: jobs mostly come, are taken and leave in such runs, and one
/// walk along them is cheaper than a search for each.
fn each_run(statement: &mut CachedStatement<'_>, mut entries: Vec<u64>) -> rusqlite::Result<()> {
    entries.sort_unstable();
    for run in entries.chunk_by(|one, next| one + 1 == *next) {
        if let [first, ..] = run
            && let [.., last] = run
        {
            statement.execute([whole(*first), whole(*last)])?;
        }
    }
    Ok(())
}

/// Takes all jobs of the file into `state`. A row that cannot be read is removed: the sweep makes its job again.
pub(super) fn load(
    connection: &Connection,
    state: &mut State,
    wall: Timestamp,
    now: Instant,
) -> rusqlite::Result<()> {
    let mut unreadable = Vec::new();
    let mut select = connection.prepare_cached(LOAD)?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        match read(row, wall, now) {
            Ok(kept) => state.restore(kept),
            Err(error) => {
                let seq: i64 = row.get(0)?;
                warn!(seq, error = %Report(&error), "unreadable job removed from the queue's file");
                unreadable.push(seq);
            }
        }
    }
    for seq in unreadable {
        connection.prepare_cached(DELETE)?.execute([seq, seq])?;
    }
    Ok(())
}

fn read(row: &Row<'_>, wall: Timestamp, now: Instant) -> Result<Kept, Unreadable> {
    let priority: u8 = row.get(2)?;
    let payload = row.get_ref(7)?.as_str().map_err(rusqlite::Error::from)?;
    let job = Job {
        id: UploadId::from_bytes(row.get(1)?).map_err(|_| Unreadable::Value)?,
        priority: *Priority::ALL.get(usize::from(priority)).ok_or(Unreadable::Value)?,
        tries: row.get(3)?,
        payload: serde_json::from_str(payload)?,
    };
    let time = |column| row.get(column).map(unsigned).map(Timestamp::from_unix_ms);
    let wait = time(5)?.since(wall);
    let age = wall.since(time(6)?);
    Ok(Kept {
        entry: unsigned(row.get(0)?),
        job,
        deliveries: row.get(4)?,
        since: now.checked_sub(age).unwrap_or(now),
        due: (!wait.is_zero()).then(|| now + wait),
    })
}

/// A row that this Headworks did not write.
#[derive(Debug, thiserror::Error)]
enum Unreadable {
    #[error("read the row")]
    Row(#[from] rusqlite::Error),
    #[error("parse the payload")]
    Payload(#[from] serde_json::Error),
    #[error("no such id or priority")]
    Value,
}

/// SQLite's integers are signed; no number of ours comes near the end.
fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

fn index(priority: Priority) -> u8 {
    match priority {
        Priority::High => 0,
        Priority::Normal => 1,
        Priority::Low => 2,
    }
}
