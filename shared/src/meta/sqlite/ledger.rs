//! The ledger: batches, deletions, and what is known of each upload.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, Row};

use super::{SqliteMeta, events::Appender, persist, prune, rows};
use crate::{
    meta::{Deleted, Error, Ledger, Record, Verdict, deletion},
    model::{Envelope, ObjectPath, Scope, State, Timestamp, TraceContext, UploadId, Version},
};

type Result<T> = rusqlite::Result<T>;

pub(super) const STATE: &str = "SELECT state FROM ledger WHERE id = ?1";

pub(super) const STATE_IN_SCOPE: &str = "SELECT l.state, s.org = ?2 AND s.project = ?3
    FROM ledger l JOIN scopes s ON s.id = l.scope WHERE l.id = ?1";

/// Keeps the row: its id must never be taken for a new upload's.
const MARK_DELETED: &str = "UPDATE ledger SET state = 'deleted', size = 0, at = ?2 WHERE id = ?1";

/// An upload that was deleted before its job was done.
const ENTER_DELETED: &str =
    "INSERT INTO ledger (id, scope, state, size, at) VALUES (?1, ?2, 'deleted', 0, ?3)";

pub(super) const REMOVE: &str =
    "DELETE FROM objects WHERE id = ?1 RETURNING scope, path, version, size, stored_at";

/// Keeps the number of a version from being given again.
const BURY: &str = "INSERT INTO tombstones (scope, path, version, id, stored_at, at)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6)";

const USE_LESS: &str = "UPDATE scopes SET objects = objects - 1, bytes = bytes - ?2 WHERE id = ?1";

const PURGED: &str = "UPDATE ledger SET purged = 1 WHERE id = ?1 AND state <> 'stored'";

pub(super) const UNPURGED: &str =
    "SELECT l.id, s.org, s.project FROM ledger l JOIN scopes s ON s.id = l.scope
    WHERE l.state <> 'stored' AND l.purged = 0 ORDER BY l.at LIMIT ?1";

const SWEPT: &str = "SELECT swept FROM progress";

const SET_SWEPT: &str = "UPDATE progress SET swept = ?1";

const QUEUE_SEEN: &str = "SELECT queue_seen FROM progress";

const SET_QUEUE_SEEN: &str = "UPDATE progress SET queue_seen = ?1";

#[async_trait]
impl Ledger for SqliteMeta {
    async fn persist(&self, batch: &[Record], at: Timestamp) -> std::result::Result<Vec<Verdict>, Error> {
        let batch = batch.to_vec();
        self.write(move |connection| persist::persist(connection, &batch, at)).await
    }

    async fn delete(
        &self,
        scope: &Scope,
        id: UploadId,
        envelope: Option<&Envelope>,
        at: Timestamp,
    ) -> std::result::Result<Deleted, Error> {
        let envelope = envelope.filter(|envelope| envelope.scope == *scope).cloned();
        let scope = scope.clone();
        self.write(move |connection| delete(connection, &scope, id, envelope.as_ref(), at)).await
    }

    async fn purged(&self, ids: &[UploadId]) -> std::result::Result<(), Error> {
        let ids = ids.to_vec();
        self.write(move |connection| {
            let mut purged = connection.prepare_cached(PURGED)?;
            ids.iter().try_for_each(|id| purged.execute([id.as_bytes()]).map(drop))
        })
        .await
    }

    async fn unpurged(&self, limit: usize) -> std::result::Result<Vec<(Scope, UploadId)>, Error> {
        self.read(move |connection| {
            let entry = |row: &Row<'_>| Ok((rows::scope(row, 1, 2)?, rows::upload_id(row, 0)?));
            connection.prepare_cached(UNPURGED)?.query_map([rows::at_most(limit)], entry)?.collect()
        })
        .await
    }

    async fn states(&self, ids: &[UploadId]) -> std::result::Result<Vec<Option<State>>, Error> {
        let ids = ids.to_vec();
        self.read(move |connection| {
            let mut known = connection.prepare_cached(STATE)?;
            let mut state =
                |id: &UploadId| known.query_row([id.as_bytes()], |row| rows::state(row, 0)).optional();
            ids.iter().map(&mut state).collect()
        })
        .await
    }

    async fn prune(&self, before: Timestamp) -> std::result::Result<u64, Error> {
        prune::prune(self, before).await
    }

    async fn swept(&self) -> std::result::Result<Option<Timestamp>, Error> {
        let since = self.read(|connection| {
            connection.prepare_cached(SWEPT)?.query_row([], |row| row.get::<_, Option<i64>>(0))
        });
        Ok(since.await?.and_then(|ms| u64::try_from(ms).ok()).map(Timestamp::from_unix_ms))
    }

    async fn set_swept(&self, at: Timestamp) -> std::result::Result<(), Error> {
        self.write(move |connection| connection.execute(SET_SWEPT, [rows::ms(at)?]).map(drop)).await
    }

    async fn queue_seen(&self) -> std::result::Result<Option<String>, Error> {
        self.read(|connection| connection.prepare_cached(QUEUE_SEEN)?.query_row([], |row| row.get(0))).await
    }

    async fn set_queue_seen(&self, content: &str) -> std::result::Result<(), Error> {
        let content = content.to_owned();
        self.write(move |connection| connection.execute(SET_QUEUE_SEEN, [content]).map(drop)).await
    }
}

fn delete(
    connection: &Connection,
    scope: &Scope,
    id: UploadId,
    envelope: Option<&Envelope>,
    at: Timestamp,
) -> Result<Deleted> {
    let trace = envelope.and_then(|envelope| envelope.trace);
    let known = connection
        .prepare_cached(STATE_IN_SCOPE)?
        .query_row((id.as_bytes(), scope.org(), scope.project()), |row| {
            Ok((rows::state(row, 0)?, row.get::<_, bool>(1)?))
        })
        .optional()?;
    match (known, envelope) {
        (Some((_, false)), _) | (None, None) => Ok(Deleted::Unknown),
        (Some((State::Failed | State::Deleted, true)), _) => Ok(Deleted::Before),
        (Some((State::Stored, true)), _) => {
            let (path, was) = remove(connection, id, at)?;
            tell(connection, id, scope, &path, Some(was), trace, at)
        }
        (None, Some(envelope)) => {
            let number = rows::number_scope(connection, scope)?;
            connection.prepare_cached(ENTER_DELETED)?.execute((id.as_bytes(), number, rows::ms(at)?))?;
            tell(connection, id, scope, &envelope.path, None, trace, at)
        }
    }
}

/// Takes a stored object out of the objects and the usage, and leaves tombstones.
fn remove(connection: &Connection, id: UploadId, at: Timestamp) -> Result<(ObjectPath, Version)> {
    let at = rows::ms(at)?;
    let (scope, path, was, stored_at) =
        connection.prepare_cached(REMOVE)?.query_row([id.as_bytes()], |row| {
            let was = Version { version: rows::unsigned(row, 2)?, size: rows::unsigned(row, 3)? };
            Ok((row.get::<_, i64>(0)?, rows::parsed::<ObjectPath>(row, 1)?, was, row.get::<_, i64>(4)?))
        })?;
    let version = rows::signed(was.version)?;
    connection.prepare_cached(BURY)?.execute((
        scope,
        path.as_str(),
        version,
        id.as_bytes(),
        stored_at,
        at,
    ))?;
    connection.prepare_cached(USE_LESS)?.execute((scope, rows::signed(was.size)?))?;
    connection.prepare_cached(MARK_DELETED)?.execute((id.as_bytes(), at))?;
    Ok((path, was))
}

fn tell(
    connection: &Connection,
    id: UploadId,
    scope: &Scope,
    path: &ObjectPath,
    was: Option<Version>,
    trace: Option<TraceContext>,
    at: Timestamp,
) -> Result<Deleted> {
    Appender::open(connection)?.append(&deletion(id, scope, path, was, trace, at))?;
    Ok(Deleted::Now)
}
