//! Looks for what should not be: one snapshot, every table read once or twice. Nothing here repairs; it tells.

use async_trait::async_trait;
use rusqlite::{Connection, Row};

use super::{SqliteMeta, rows};
use crate::{
    meta::{Audit, Error, LedgerRow},
    model::{EventId, EventType, UploadId},
};

type Result<T> = rusqlite::Result<T>;

/// The most lines in an answer. A store that is all wrong is not told row by row.
const MAX_LINES: usize = 10_000;

pub(super) const PAGE: &str = "SELECT l.id, s.org, s.project, l.state, l.purged, l.size
    FROM ledger l JOIN scopes s ON s.id = l.scope WHERE l.id > ?1 ORDER BY l.id LIMIT ?2";

const EVENTS_OF: &str = "SELECT id, type FROM events WHERE upload = ?1 ORDER BY seq";

/// Each answers with finished lines; most with none.
pub(super) const QUESTIONS: [&str; 8] = [
    include_str!("audit/usage.sql"),
    include_str!("audit/objects_without_ledger.sql"),
    include_str!("audit/ledger_without_object.sql"),
    include_str!("audit/events_missing.sql"),
    include_str!("audit/events_twice.sql"),
    include_str!("audit/events_out_of_place.sql"),
    include_str!("audit/tombstones.sql"),
    include_str!("audit/deliveries.sql"),
];

const EVENT_IDS: &str = "SELECT upload, type, id, seq FROM events";

const VERSIONS: &str = include_str!("audit/versions.sql");

#[async_trait]
impl Audit for SqliteMeta {
    async fn ledger_page(
        &self,
        after: Option<UploadId>,
        limit: usize,
    ) -> std::result::Result<Vec<LedgerRow>, Error> {
        self.read(move |connection| {
            // No bytes at all come before every id.
            let after = after.as_ref().map_or(&[][..], |id| id.as_bytes().as_slice());
            connection.prepare_cached(PAGE)?.query_map((after, rows::at_most(limit)), ledger_row)?.collect()
        })
        .await
    }

    async fn contradictions(&self) -> std::result::Result<Vec<String>, Error> {
        Ok(self.auditors.call(contradictions).await?)
    }

    async fn events_of(&self, id: UploadId) -> std::result::Result<Vec<(EventId, EventType)>, Error> {
        self.read(move |connection| {
            let event = |row: &Row<'_>| Ok((rows::event_id(row, 0)?, rows::parsed(row, 1)?));
            connection.prepare_cached(EVENTS_OF)?.query_map([id.as_bytes()], event)?.collect()
        })
        .await
    }
}

fn ledger_row(row: &Row<'_>) -> Result<LedgerRow> {
    Ok(LedgerRow {
        id: rows::upload_id(row, 0)?,
        scope: rows::scope(row, 1, 2)?,
        state: rows::state(row, 3)?,
        purged: row.get(4)?,
        size: rows::unsigned(row, 5)?,
    })
}

fn contradictions(connection: &Connection) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for question in QUESTIONS {
        ask(connection, question, &mut lines, |row| row.get(0).map(Some))?;
    }
    ask(connection, EVENT_IDS, &mut lines, wrong_id)?;
    let mut path = Path::default();
    ask(connection, VERSIONS, &mut lines, |row| path.next(row))?;
    if lines.len() > MAX_LINES {
        lines.truncate(MAX_LINES);
        lines.push(format!("there are more than these {MAX_LINES} contradictions"));
    }
    Ok(lines)
}

/// Adds the lines that `line` makes of the rows, as long as there is room for them.
fn ask(
    connection: &Connection,
    question: &str,
    lines: &mut Vec<String>,
    mut line: impl FnMut(&Row<'_>) -> Result<Option<String>>,
) -> Result<()> {
    let mut statement = connection.prepare(question)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()?
        && lines.len() <= MAX_LINES
    {
        lines.extend(line(row)?);
    }
    Ok(())
}

/// An event's id follows from what happened to which upload; another one would be told as another event.
fn wrong_id(row: &Row<'_>) -> Result<Option<String>> {
    let (Ok(upload), Ok(kind)) = (rows::upload_id(row, 0), rows::parsed(row, 1)) else {
        return Ok(Some(format!(
            "event number {}: its upload or type cannot be read",
            row.get::<_, i64>(3)?
        )));
    };
    let (found, expected) = (rows::event_id(row, 2)?, EventId::of(upload, kind));
    let kind = kind.as_str();
    Ok((found != expected)
        .then(|| format!("event {kind} of {upload} has the id {found} instead of {expected}")))
}

/// The path whose versions are being read, in their order.
#[derive(Default)]
struct Path {
    scope: i64,
    path: String,
    version: i64,
    stored_at: i64,
}

impl Path {
    /// A number that is missing was deleted and has been forgotten since: so what stands before it was stored before the moment
    /// up to which things may have been forgotten.
    fn next(&mut self, row: &Row<'_>) -> Result<Option<String>> {
        let (scope, path) = (row.get(0)?, row.get_ref(1)?.as_str()?);
        let (version, stored_at, pruned): (i64, i64, i64) = (row.get(2)?, row.get(3)?, row.get(4)?);
        if (scope, path) != (self.scope, self.path.as_str()) {
            *self = Self { scope, path: path.to_owned(), version: 0, stored_at: 0 };
        }
        let (last, last_stored_at) = (self.version, self.stored_at);
        (self.version, self.stored_at) = (version, stored_at);
        if version == last {
            return Ok(Some(format!("versions of {path:?} in scope {scope}: {version} is there twice")));
        }
        let gap = version != last + 1 && last_stored_at >= pruned;
        Ok(gap.then(|| format!("versions of {path:?} in scope {scope}: {version} follows {last}")))
    }
}
