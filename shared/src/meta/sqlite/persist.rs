//! Writes a batch of uploads' ends. The hot path of the whole store: for each upload one row in the ledger, one object and one
//! event; for each scope one change of its usage, in the order of scopes, when all the rest is written.

use std::collections::{BTreeMap, btree_map::Entry};

use rusqlite::{CachedStatement, Connection};

use super::{events::Appender, rows};
use crate::{
    http::Code,
    meta::{Record, Verdict, event},
    model::{ObjectPath, Scope, State, Timestamp, UploadId},
};

type Result<T> = rusqlite::Result<T>;

const ENTER: &str =
    "INSERT INTO ledger (id, scope, state, size, at, reason, purged) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
    ON CONFLICT (id) DO NOTHING";

pub(super) const KNOWN: &str = "SELECT state FROM ledger WHERE id = ?1";

/// The newest version that is there, and the newest that was deleted: no number is given twice.
pub(super) const NEWEST: &str = "SELECT
    (SELECT version FROM objects WHERE scope = ?1 AND path = ?2 ORDER BY version DESC LIMIT 1),
    (SELECT version FROM tombstones WHERE scope = ?1 AND path = ?2 ORDER BY version DESC LIMIT 1)";

const OBJECT: &str =
    "INSERT INTO objects (id, scope, path, version, size, stored_at, crc64nvme, sha256, content_type, sniffed_type)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";

const USE: &str = "UPDATE scopes SET objects = objects + ?2, bytes = bytes + ?3 WHERE id = ?1";

/// Writes `records`, and says what each led to, in their order.
pub(super) fn persist(connection: &Connection, records: &[Record], at: Timestamp) -> Result<Vec<Verdict>> {
    let mut batch = Batch::open(connection, at)?;
    let verdicts = records.iter().map(|record| batch.write(record)).collect::<Result<_>>()?;
    batch.add_up()?;
    Ok(verdicts)
}

/// What the batch adds to a scope.
struct Added {
    number: i64,
    objects: i64,
    bytes: i64,
}

struct Batch<'c, 'r> {
    connection: &'c Connection,
    at: Timestamp,
    at_ms: i64,
    enter: CachedStatement<'c>,
    newest: CachedStatement<'c>,
    object: CachedStatement<'c>,
    events: Appender<'c>,
    added: BTreeMap<&'r Scope, Added>,
}

impl<'c, 'r> Batch<'c, 'r> {
    fn open(connection: &'c Connection, at: Timestamp) -> Result<Self> {
        Ok(Self {
            connection,
            at,
            at_ms: rows::ms(at)?,
            enter: connection.prepare_cached(ENTER)?,
            newest: connection.prepare_cached(NEWEST)?,
            object: connection.prepare_cached(OBJECT)?,
            events: Appender::open(connection)?,
            added: BTreeMap::new(),
        })
    }

    fn write(&mut self, record: &'r Record) -> Result<Verdict> {
        let scope = self.scope(&record.envelope.scope)?;
        let verdict = self.judge(scope, record)?;
        if !self.enter(scope, record, verdict)? {
            return self.known(record.id);
        }
        if let Verdict::Stored { version } = verdict {
            self.store(scope, record, version)?;
        }
        if let Some(event) = event(record, verdict, self.at) {
            self.events.append(&event)?;
        }
        Ok(verdict)
    }

    fn scope(&mut self, scope: &'r Scope) -> Result<i64> {
        match self.added.entry(scope) {
            Entry::Occupied(entry) => Ok(entry.get().number),
            Entry::Vacant(entry) => {
                let number = rows::number_scope(self.connection, scope)?;
                entry.insert(Added { number, objects: 0, bytes: 0 });
                Ok(number)
            }
        }
    }

    /// What a record leads to, if the ledger does not know its upload.
    fn judge(&mut self, scope: i64, record: &Record) -> Result<Verdict> {
        if let Some(reason) = record.failure {
            return Ok(Verdict::Failed { reason });
        }
        let (there, deleted) = self.newest(scope, &record.envelope.path)?;
        if there.is_some() && record.envelope.only_if_absent {
            return Ok(Verdict::Failed { reason: Code::Exists.as_str() });
        }
        Ok(Verdict::Stored { version: there.max(deleted).unwrap_or(0) + 1 })
    }

    fn newest(&mut self, scope: i64, path: &ObjectPath) -> Result<(Option<u64>, Option<u64>)> {
        let version = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
        self.newest.query_row((scope, path.as_str()), |row| Ok((version(row.get(0)?), version(row.get(1)?))))
    }

    /// Writes the ledger's row, and says whether it is new.
    fn enter(&mut self, scope: i64, record: &Record, verdict: Verdict) -> Result<bool> {
        let (state, size, reason) = match verdict {
            Verdict::Stored { .. } => (State::Stored, rows::signed(record.seal.size)?, None),
            Verdict::Failed { reason } => (State::Failed, 0, Some(reason)),
            Verdict::Known(state) => (state, 0, None),
        };
        // A failure that is brought along leaves the bytes alone.
        let (id, purged) = (record.id.as_bytes(), record.failure.is_some());
        Ok(self.enter.execute((id, scope, state.as_str(), size, self.at_ms, reason, purged))? == 1)
    }

    fn known(&self, id: UploadId) -> Result<Verdict> {
        let mut known = self.connection.prepare_cached(KNOWN)?;
        known.query_row([id.as_bytes()], |row| rows::state(row, 0)).map(Verdict::Known)
    }

    fn store(&mut self, scope: i64, record: &'r Record, version: u64) -> Result<()> {
        let Record { id, envelope, seal, .. } = record;
        let size = rows::signed(seal.size)?;
        self.object.execute((
            id.as_bytes(),
            scope,
            envelope.path.as_str(),
            rows::signed(version)?,
            size,
            self.at_ms,
            seal.digests.crc64nvme.0.cast_signed(),
            seal.digests.sha256.as_ref().map(|sha| &sha.0),
            envelope.media_type(seal),
            seal.sniffed_type.as_deref(),
        ))?;
        if let Some(added) = self.added.get_mut(&envelope.scope) {
            added.objects += 1;
            added.bytes = added.bytes.checked_add(size).ok_or_else(too_many_bytes)?;
        }
        Ok(())
    }

    /// Adds what was stored to each scope's usage.
    fn add_up(self) -> Result<()> {
        let mut change = self.connection.prepare_cached(USE)?;
        for added in self.added.values().filter(|added| added.objects > 0) {
            change.execute((added.number, added.objects, added.bytes))?;
        }
        Ok(())
    }
}

fn too_many_bytes() -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure("a batch of over 8 EiB".into())
}
