//! The read side. Objects that are deleted are not in the table, so that no listing has to step over them.

use async_trait::async_trait;
use rusqlite::{
    Connection, OptionalExtension as _, Row, ToSql,
    types::{ToSqlOutput, ValueRef},
};

use super::{
    SqliteMeta,
    rows::{self, object_columns},
};
use crate::{
    meta::{Catalog, Error, Found, Usage},
    model::{Object, ObjectPath, Scope, State, UploadId},
};

type Result<T> = rusqlite::Result<T>;

pub(super) const FIND: &str = concat!(
    "SELECT l.state, l.reason, ",
    object_columns!(),
    " FROM ledger l JOIN scopes s ON s.id = l.scope LEFT JOIN objects o ON o.id = l.id
    WHERE l.id = ?1 AND s.org = ?2 AND s.project = ?3"
);

pub(super) const VERSIONS: &str = concat!(
    "SELECT ",
    object_columns!(),
    " FROM objects o WHERE o.scope = ?1 AND o.path = ?2 ORDER BY o.version DESC LIMIT ?3"
);

/// The newest version of the first path in a range. A listing asks it once for each object, so the older versions of a path
/// cost nothing, however many there are.
pub(super) const FIRST: &str = concat!(
    "SELECT ",
    object_columns!(),
    " FROM objects o WHERE o.scope = ?1 AND o.path >= ?2 AND o.path < ?3
    ORDER BY o.path, o.version DESC LIMIT 1"
);

pub(super) const USAGE: &str = "SELECT objects, bytes FROM scopes WHERE org = ?1 AND project = ?2";

#[async_trait]
impl Catalog for SqliteMeta {
    async fn find(&self, scope: &Scope, id: UploadId) -> std::result::Result<Option<Found>, Error> {
        let scope = scope.clone();
        self.read(move |connection| {
            let key = (id.as_bytes(), scope.org(), scope.project());
            connection.prepare_cached(FIND)?.query_row(key, |row| found(row, &scope)).optional()
        })
        .await
    }

    async fn at_path(&self, scope: &Scope, path: &ObjectPath) -> std::result::Result<Option<Object>, Error> {
        Ok(self.versions(scope, path, 1).await?.pop())
    }

    async fn list(
        &self,
        scope: &Scope,
        prefix: &str,
        after: Option<&ObjectPath>,
        limit: usize,
    ) -> std::result::Result<Vec<Object>, Error> {
        let scope = scope.clone();
        let range = Range::new(prefix, after);
        self.read(move |connection| list(connection, &scope, range, limit)).await
    }

    async fn versions(
        &self,
        scope: &Scope,
        path: &ObjectPath,
        limit: usize,
    ) -> std::result::Result<Vec<Object>, Error> {
        let (scope, path) = (scope.clone(), path.clone());
        self.read(move |connection| {
            let Some(number) = rows::scope_number(connection, &scope)? else { return Ok(Vec::new()) };
            connection
                .prepare_cached(VERSIONS)?
                .query_map((number, path.as_str(), rows::at_most(limit)), |row| rows::object(row, 0, &scope))?
                .collect()
        })
        .await
    }

    async fn usage(&self, scope: &Scope) -> std::result::Result<Usage, Error> {
        let scope = scope.clone();
        self.read(move |connection| {
            let usage = |row: &Row<'_>| {
                Ok(Usage { objects: rows::unsigned(row, 0)?, bytes: rows::unsigned(row, 1)? })
            };
            let key = [scope.org(), scope.project()];
            Ok(connection.prepare_cached(USAGE)?.query_row(key, usage).optional()?.unwrap_or_default())
        })
        .await
    }
}

fn found(row: &Row<'_>, scope: &Scope) -> Result<Found> {
    Ok(match rows::state(row, 0)? {
        State::Stored => Found::Stored(rows::object(row, 2, scope)?),
        State::Failed => Found::Failed { reason: row.get(1)? },
        State::Deleted => Found::Deleted,
    })
}

fn list(connection: &Connection, scope: &Scope, mut range: Range, limit: usize) -> Result<Vec<Object>> {
    let Some(number) = rows::scope_number(connection, scope)? else { return Ok(Vec::new()) };
    let mut first = connection.prepare_cached(FIRST)?;
    let mut objects = Vec::new();
    while objects.len() < limit {
        let next = first
            .query_row((number, &range.from, &range.to), |row| rows::object(row, 0, scope))
            .optional()?;
        let Some(object) = next else { break };
        range.from = Bytes::behind(&object.path);
        objects.push(object);
    }
    Ok(objects)
}

/// A range of paths, from `from` to just below `to`.
#[derive(PartialEq, Eq, Debug)]
struct Range {
    from: Bytes,
    to: Bytes,
}

impl Range {
    fn new(prefix: &str, after: Option<&ObjectPath>) -> Self {
        let start = Bytes(prefix.as_bytes().to_vec());
        let from = after.map_or_else(|| Bytes(Vec::new()), Bytes::behind).max(start);
        Self { from, to: Bytes::above(prefix) }
    }
}

/// Text for SQLite to compare, byte by byte; not always UTF-8, since the bound of a range need not be.
#[derive(PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Bytes(Vec<u8>);

impl Bytes {
    /// The first text behind `path`.
    fn behind(path: &ObjectPath) -> Self {
        let mut bytes = path.as_str().as_bytes().to_vec();
        bytes.push(0);
        Self(bytes)
    }

    /// The first text that is above all that begin with `prefix`. No byte of UTF-8 is 255, so there is always one.
    fn above(prefix: &str) -> Self {
        let mut bytes = prefix.as_bytes().to_vec();
        match bytes.last_mut() {
            Some(last) => *last = last.saturating_add(1),
            None => bytes.push(u8::MAX),
        }
        Self(bytes)
    }
}

impl ToSql for Bytes {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Text(&self.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(prefix: &str, after: Option<&str>) -> (Vec<u8>, Vec<u8>) {
        let after = after.map(|path| path.parse().unwrap());
        let Range { from, to } = Range::new(prefix, after.as_ref());
        (from.0, to.0)
    }

    #[test]
    fn a_prefix_is_a_range_of_bytes() {
        assert_eq!(range("a/", None), (b"a/".to_vec(), b"a0".to_vec()));
        assert_eq!(range("", None), (Vec::new(), vec![255]));
        assert_eq!(range("é", None), (vec![0xc3, 0xa9], vec![0xc3, 0xaa]));
        assert_eq!(range("\u{10ffff}", None), (vec![0xf4, 0x8f, 0xbf, 0xbf], vec![0xf4, 0x8f, 0xbf, 0xc0]));
    }

    #[test]
    fn a_page_begins_behind_the_last_one_but_never_before_the_prefix() {
        assert_eq!(range("a/", Some("a/b")).0, b"a/b\0");
        assert_eq!(range("b", Some("a/b")).0, b"b");
        assert_eq!(range("a", Some("c")), (b"c\0".to_vec(), b"b".to_vec()));
    }
}
