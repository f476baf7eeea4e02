//! Between rows and the model's words. A row that does not parse is an error of the database, never a word made up.

use std::str::FromStr;

use rusqlite::{Connection, OptionalExtension as _, Row, types::Type};

use crate::model::{
    Crc64, Digests, EventId, Object, ObjectPath, Scope, Sha256Digest, State, Timestamp, UploadId,
};

type Result<T> = rusqlite::Result<T>;

/// The columns that [`object`] reads, of a table called `o`.
macro_rules! object_columns {
    () => {
        "o.id, o.path, o.version, o.size, o.stored_at, o.crc64nvme, o.sha256, o.content_type, o.sniffed_type"
    };
}
pub(super) use object_columns;

/// An object, from columns `first` and on, in the order of `object_columns`.
pub(super) fn object(row: &Row<'_>, first: usize, scope: &Scope) -> Result<Object> {
    let id = upload_id(row, first)?;
    Ok(Object {
        id,
        scope: scope.clone(),
        path: parsed::<ObjectPath>(row, first + 1)?,
        version: unsigned(row, first + 2)?,
        size: unsigned(row, first + 3)?,
        stored_at: time(row, first + 4)?,
        digests: Digests {
            crc64nvme: Crc64(row.get::<_, i64>(first + 5)?.cast_unsigned()),
            sha256: row.get::<_, Option<[u8; 32]>>(first + 6)?.map(Sha256Digest),
        },
        content_type: row.get(first + 7)?,
        sniffed_type: row.get(first + 8)?,
        received_at: id.time(),
    })
}

/// The number of a scope, if it has one.
pub(super) fn scope_number(connection: &Connection, scope: &Scope) -> Result<Option<i64>> {
    connection
        .prepare_cached("SELECT id FROM scopes WHERE org = ?1 AND project = ?2")?
        .query_row([scope.org(), scope.project()], |row| row.get(0))
        .optional()
}

/// The number of a scope, which gets one if it has none.
pub(super) fn number_scope(connection: &Connection, scope: &Scope) -> Result<i64> {
    if let Some(number) = scope_number(connection, scope)? {
        return Ok(number);
    }
    connection
        .execute("INSERT INTO scopes (org, project) VALUES (?1, ?2)", [scope.org(), scope.project()])?;
    Ok(connection.last_insert_rowid())
}

/// A number as SQLite keeps it; one that is too large lies in the data.
pub(super) fn signed(number: u64) -> Result<i64> {
    i64::try_from(number).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

/// A moment as SQLite keeps it.
pub(super) fn ms(at: Timestamp) -> Result<i64> {
    signed(at.unix_ms())
}

/// A limit as SQLite takes it.
pub(super) fn at_most(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(row: &Row<'_>, column: usize) -> Result<u64> {
    u64::try_from(row.get::<_, i64>(column)?).map_err(|error| broken(column, error))
}

pub(super) fn time(row: &Row<'_>, column: usize) -> Result<Timestamp> {
    unsigned(row, column).map(Timestamp::from_unix_ms)
}

pub(super) fn upload_id(row: &Row<'_>, column: usize) -> Result<UploadId> {
    UploadId::from_bytes(row.get(column)?).map_err(|error| broken(column, error))
}

pub(super) fn event_id(row: &Row<'_>, column: usize) -> Result<EventId> {
    row.get(column).map(EventId::from_bytes)
}

pub(super) fn scope(row: &Row<'_>, org: usize, project: usize) -> Result<Scope> {
    Scope::new(text(row, org)?, text(row, project)?).map_err(|error| broken(org, error))
}

pub(super) fn state(row: &Row<'_>, column: usize) -> Result<State> {
    match text(row, column)? {
        "stored" => Ok(State::Stored),
        "failed" => Ok(State::Failed),
        "deleted" => Ok(State::Deleted),
        _ => Err(broken(column, UnknownState)),
    }
}

/// What has a form as text.
pub(super) fn parsed<T>(row: &Row<'_>, column: usize) -> Result<T>
where
    T: FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    text(row, column)?.parse().map_err(|error| broken(column, error))
}

fn text<'a>(row: &'a Row<'_>, column: usize) -> Result<&'a str> {
    row.get_ref(column)?.as_str().map_err(|error| broken(column, error))
}

pub(super) fn broken(
    column: usize,
    error: impl std::error::Error + Send + Sync + 'static,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Null, Box::new(error))
}

#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("a state is one of stored, failed, deleted")]
struct UnknownState;
