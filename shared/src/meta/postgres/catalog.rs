//! The read side. Objects that are deleted are not in the table, so that no listing has to step over them.
//!
//! Where there is a replica it answers, some moments late: a deletion or a new version may not show yet. An upload that it does not
//! know is asked for at the primary, so that who was told of an upload's end finds it; and so is all when the replica fails.

use async_trait::async_trait;
use tokio_postgres::{Row, types::Type};
use uuid::Uuid;

use super::{
    PostgresMeta,
    fault::Fault,
    rows::{self, object_columns},
    server::Mode,
    transaction::Value,
};
use crate::{
    meta::{Catalog, Error, Found, Usage},
    model::{Object, ObjectPath, Scope, State, UploadId},
};

const FIND: &str = concat!(
    "SELECT l.state, l.reason, ",
    object_columns!(),
    " FROM ledger l JOIN scopes s ON s.id = l.scope LEFT JOIN objects o ON o.id = l.id
    WHERE l.id = $1 AND s.org = $2 AND s.project = $3"
);

const VERSIONS: &str = concat!(
    "SELECT ",
    object_columns!(),
    " FROM objects o WHERE o.scope = (SELECT id FROM scopes WHERE org = $1 AND project = $2) AND o.path = $3
    ORDER BY o.version DESC LIMIT $4"
);

/// Seeks the newest version of one path after the other, so that the older versions of a path cost nothing, however many there
/// are. Comes in the order of paths, because each is found from the one before.
const LIST: &str = concat!(
    "WITH RECURSIVE s AS (SELECT id FROM scopes WHERE org = $1 AND project = $2), page AS (
        (SELECT 1 AS n, ",
    object_columns!(),
    " FROM objects o WHERE o.scope = (SELECT id FROM s) AND o.path >= $3 AND o.path > $4 AND o.path < $5
            ORDER BY o.path, o.version DESC LIMIT 1)
        UNION ALL
        SELECT page.n + 1, o.* FROM page CROSS JOIN LATERAL (
            SELECT ",
    object_columns!(),
    " FROM objects o WHERE o.scope = (SELECT id FROM s) AND o.path > page.path AND o.path < $5
            ORDER BY o.path, o.version DESC LIMIT 1) o
        WHERE page.n < $6)
    SELECT ",
    object_columns!(),
    " FROM page o"
);

const USAGE: &str = "SELECT objects, bytes FROM scopes WHERE org = $1 AND project = $2";

#[async_trait]
impl Catalog for PostgresMeta {
    async fn find(&self, scope: &Scope, id: UploadId) -> Result<Option<Found>, Error> {
        let (id, org, project) = (Uuid::from(id), scope.org(), scope.project());
        let key = [(&id as _, Type::UUID), (&org as _, Type::TEXT), (&project as _, Type::TEXT)];
        let mut rows = self.look(FIND, &key).await?;
        if rows.is_empty() && self.replica.is_some() {
            rows = self.primary.ask(Mode::Read, FIND, &key).await?;
        }
        Ok(rows.first().map(|row| found(row, scope)).transpose()?)
    }

    async fn at_path(&self, scope: &Scope, path: &ObjectPath) -> Result<Option<Object>, Error> {
        Ok(self.versions(scope, path, 1).await?.pop())
    }

    async fn list(
        &self,
        scope: &Scope,
        prefix: &str,
        after: Option<&ObjectPath>,
        limit: usize,
    ) -> Result<Vec<Object>, Error> {
        // No path has a control character; the database would not even take it as text.
        if limit == 0 || prefix.contains('\0') {
            return Ok(Vec::new());
        }
        let (org, project) = (scope.org(), scope.project());
        let (after, above) = (after.map_or("", ObjectPath::as_str), above(prefix));
        let range = [
            (&org as _, Type::TEXT),
            (&project as _, Type::TEXT),
            (&prefix as _, Type::TEXT),
            (&after as _, Type::TEXT),
            (&above as _, Type::TEXT),
            (&rows::at_most(limit) as _, Type::INT8),
        ];
        objects(&self.look(LIST, &range).await?, scope)
    }

    async fn versions(&self, scope: &Scope, path: &ObjectPath, limit: usize) -> Result<Vec<Object>, Error> {
        let (org, project, path) = (scope.org(), scope.project(), path.as_str());
        let key = [
            (&org as _, Type::TEXT),
            (&project as _, Type::TEXT),
            (&path as _, Type::TEXT),
            (&rows::at_most(limit) as _, Type::INT8),
        ];
        objects(&self.look(VERSIONS, &key).await?, scope)
    }

    async fn usage(&self, scope: &Scope) -> Result<Usage, Error> {
        let (org, project) = (scope.org(), scope.project());
        let rows = self.look(USAGE, &[(&org, Type::TEXT), (&project, Type::TEXT)]).await?;
        let usage = rows.first().map(|row| {
            Ok::<_, Fault>(Usage { objects: rows::unsigned(row, 0)?, bytes: rows::unsigned(row, 1)? })
        });
        Ok(usage.transpose()?.unwrap_or_default())
    }
}

impl PostgresMeta {
    /// Asks the replica, and the primary if there is none or it fails.
    async fn look(&self, sql: &str, values: &[Value<'_>]) -> Result<Vec<Row>, Fault> {
        if let Some(replica) = &self.replica
            && let Some(rows) = replica.ask(sql, values).await
        {
            return Ok(rows);
        }
        self.primary.ask(Mode::Read, sql, values).await
    }
}

fn found(row: &Row, scope: &Scope) -> Result<Found, Fault> {
    Ok(match rows::state(row, 0)? {
        State::Stored => Found::Stored(rows::object(row, 2, scope)?),
        State::Failed => Found::Failed { reason: rows::get(row, 1)? },
        State::Deleted => Found::Deleted,
    })
}

fn objects(rows: &[Row], scope: &Scope) -> Result<Vec<Object>, Error> {
    Ok(rows.iter().map(|row| rows::object(row, 0, scope)).collect::<Result<_, _>>()?)
}

/// The first text above all that begin with `prefix`, or above every path: no path has more than 1,024 bytes. In UTF-8 the order of
/// bytes is that of characters.
fn above(prefix: &str) -> String {
    let mut bound = prefix.trim_end_matches(char::MAX).to_owned();
    match bound.pop() {
        Some('\u{d7ff}') => bound.push('\u{e000}'),
        Some(last) => bound.extend(char::from_u32(u32::from(last) + 1)),
        None => bound.extend(std::iter::repeat_n(char::MAX, 257)),
    }
    bound
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_where_the_next_text_begins() {
        for (prefix, next) in [
            ("a/", "a0"),
            ("é", "ê"),
            ("\u{d7ff}", "\u{e000}"),
            ("a\u{10ffff}\u{10ffff}", "b"),
            ("\u{10fffe}", "\u{10ffff}"),
        ] {
            assert_eq!(above(prefix), next, "{prefix}");
        }
        let highest = "\u{10ffff}".repeat(256);
        assert!(above("") > highest && above(&highest) > highest && highest.len() == 1024);
    }
}
