//! Between rows and the model's words. A row that does not parse is an error of the database, never a word made up.

use std::str::FromStr;

use tokio_postgres::{Row, types::FromSql};
use uuid::Uuid;

use super::fault::Fault;
use crate::model::{
    Crc64, Digests, EventId, Object, ObjectPath, Scope, Sha256Digest, State, Timestamp, UploadId,
};

type Result<T> = std::result::Result<T, Fault>;

/// The columns that [`object`] reads, of a table called `o`.
macro_rules! object_columns {
    () => {
        "o.id, o.path, o.version, o.size, o.stored_at, o.crc64nvme, o.sha256, o.content_type, o.sniffed_type"
    };
}
pub(super) use object_columns;

/// An object, from columns `first` and on, in the order of `object_columns`.
pub(super) fn object(row: &Row, first: usize, scope: &Scope) -> Result<Object> {
    let id = upload_id(row, first)?;
    let sha256 = row.try_get::<_, Option<&[u8]>>(first + 6)?.map(<[u8; 32]>::try_from);
    Ok(Object {
        id,
        scope: scope.clone(),
        path: parsed::<ObjectPath>(row, first + 1)?,
        version: unsigned(row, first + 2)?,
        size: unsigned(row, first + 3)?,
        stored_at: time(row, first + 4)?,
        digests: Digests {
            crc64nvme: Crc64(row.try_get::<_, i64>(first + 5)?.cast_unsigned()),
            sha256: sha256.transpose().map_err(Fault::row)?.map(Sha256Digest),
        },
        content_type: row.try_get(first + 7)?,
        sniffed_type: row.try_get(first + 8)?,
        received_at: id.time(),
    })
}

/// A number as the database keeps it; one that is too large lies in the data.
pub(super) fn signed(number: u64) -> Result<i64> {
    i64::try_from(number).map_err(Fault::value)
}

/// A moment as the database keeps it.
pub(super) fn ms(at: Timestamp) -> Result<i64> {
    signed(at.unix_ms())
}

/// A limit as the database takes it.
pub(super) fn at_most(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// Ids as the database takes them.
pub(super) fn uuids(ids: &[UploadId]) -> Vec<Uuid> {
    ids.iter().copied().map(Uuid::from).collect()
}

/// An event's id as the database keeps it.
pub(super) fn event_uuid(id: EventId) -> Uuid {
    Uuid::from_bytes(*id.as_bytes())
}

/// A column as it is.
pub(super) fn get<'a, T: FromSql<'a>>(row: &'a Row, column: usize) -> Result<T> {
    Ok(row.try_get(column)?)
}

pub(super) fn unsigned(row: &Row, column: usize) -> Result<u64> {
    u64::try_from(row.try_get::<_, i64>(column)?).map_err(Fault::row)
}

pub(super) fn time(row: &Row, column: usize) -> Result<Timestamp> {
    unsigned(row, column).map(Timestamp::from_unix_ms)
}

pub(super) fn upload_id(row: &Row, column: usize) -> Result<UploadId> {
    UploadId::try_from(row.try_get::<_, Uuid>(column)?).map_err(Fault::row)
}

pub(super) fn event_id(row: &Row, column: usize) -> Result<EventId> {
    Ok(EventId::from_bytes(row.try_get::<_, Uuid>(column)?.into_bytes()))
}

pub(super) fn scope(row: &Row, org: usize, project: usize) -> Result<Scope> {
    Scope::new(row.try_get(org)?, row.try_get(project)?).map_err(Fault::row)
}

pub(super) fn state(row: &Row, column: usize) -> Result<State> {
    match row.try_get(column)? {
        "stored" => Ok(State::Stored),
        "failed" => Ok(State::Failed),
        "deleted" => Ok(State::Deleted),
        _ => Err(Fault::row(UnknownState)),
    }
}

/// What has a form as text.
pub(super) fn parsed<T>(row: &Row, column: usize) -> Result<T>
where
    T: FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    row.try_get::<_, &str>(column)?.parse().map_err(Fault::row)
}

#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("a state is one of stored, failed, deleted")]
struct UnknownState;
