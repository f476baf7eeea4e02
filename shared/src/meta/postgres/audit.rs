//! Looks for what should not be: one snapshot, every table read once or twice. Nothing here repairs; it tells.

use std::pin::pin;

use async_trait::async_trait;
use futures_util::TryStreamExt as _;
use tokio_postgres::{Row, types::Type};
use uuid::Uuid;

use super::{PostgresMeta, fault::Fault, rows, server::Mode, transaction::Transaction};
use crate::{
    meta::{Audit, Error, LedgerRow},
    model::{EventId, EventType, UploadId},
};

/// The most lines in an answer. A store that is all wrong is not told row by row.
const MAX_LINES: usize = 10_000;

const PAGE: &str = "SELECT l.id, s.org, s.project, l.state, l.purged, l.size
    FROM ledger l JOIN scopes s ON s.id = l.scope WHERE l.id > $1 ORDER BY l.id LIMIT $2";

const EVENTS_OF: &str = "SELECT id, type FROM events WHERE upload = $1 ORDER BY seq";

/// Each answers with finished lines; most with none.
const QUESTIONS: [&str; 9] = [
    include_str!("audit/usage.sql"),
    include_str!("audit/objects_without_ledger.sql"),
    include_str!("audit/ledger_without_object.sql"),
    include_str!("audit/events_missing.sql"),
    include_str!("audit/events_twice.sql"),
    include_str!("audit/events_out_of_place.sql"),
    include_str!("audit/tombstones.sql"),
    include_str!("audit/deliveries.sql"),
    include_str!("audit/versions.sql"),
];

const EVENT_IDS: &str = "SELECT upload, type, id, seq FROM events";

#[async_trait]
impl Audit for PostgresMeta {
    async fn ledger_page(&self, after: Option<UploadId>, limit: usize) -> Result<Vec<LedgerRow>, Error> {
        let after = after.map_or(Uuid::nil(), Uuid::from);
        let values = [(&after as _, Type::UUID), (&rows::at_most(limit) as _, Type::INT8)];
        let rows = self.primary.ask(Mode::Audit, PAGE, &values).await?;
        Ok(rows.iter().map(ledger_row).collect::<Result<_, _>>()?)
    }

    async fn contradictions(&self) -> Result<Vec<String>, Error> {
        Ok(self.contradict().await?)
    }

    async fn events_of(&self, id: UploadId) -> Result<Vec<(EventId, EventType)>, Error> {
        let rows = self.primary.ask(Mode::Audit, EVENTS_OF, &[(&Uuid::from(id), Type::UUID)]).await?;
        let event = |row| Ok((rows::event_id(row, 0)?, rows::parsed(row, 1)?));
        Ok(rows.iter().map(event).collect::<Result<_, Fault>>()?)
    }
}

impl PostgresMeta {
    async fn contradict(&self) -> Result<Vec<String>, Fault> {
        let mut transaction = self.primary.begin(Mode::Audit).await?;
        let mut lines = Vec::new();
        for question in QUESTIONS {
            ask(&mut transaction, question, &mut lines, |row| rows::get(row, 0).map(Some)).await?;
        }
        ask(&mut transaction, EVENT_IDS, &mut lines, wrong_id).await?;
        transaction.end(&[]).await?;
        if lines.len() > MAX_LINES {
            lines.truncate(MAX_LINES);
            lines.push(format!("there are more than these {MAX_LINES} contradictions"));
        }
        Ok(lines)
    }
}

fn ledger_row(row: &Row) -> Result<LedgerRow, Fault> {
    Ok(LedgerRow {
        id: rows::upload_id(row, 0)?,
        scope: rows::scope(row, 1, 2)?,
        state: rows::state(row, 3)?,
        purged: rows::get(row, 4)?,
        size: rows::unsigned(row, 5)?,
    })
}

/// Adds the lines that `line` makes of the rows, as long as there is room for them.
async fn ask(
    transaction: &mut Transaction<'_>,
    question: &str,
    lines: &mut Vec<String>,
    line: impl Fn(&Row) -> Result<Option<String>, Fault> + Send,
) -> Result<(), Fault> {
    let deadline = transaction.deadline();
    let mut rows = pin!(transaction.stream(question).await?);
    while lines.len() <= MAX_LINES
        && let Some(row) = deadline.wait(rows.try_next()).await?
    {
        lines.extend(line(&row)?);
    }
    Ok(())
}

/// An event's id follows from what happened to which upload; another one would be told as another event.
fn wrong_id(row: &Row) -> Result<Option<String>, Fault> {
    let (Ok(upload), Ok(kind)) = (rows::upload_id(row, 0), rows::parsed(row, 1)) else {
        let number: i64 = rows::get(row, 3)?;
        return Ok(Some(format!("event number {number}: its upload or type cannot be read")));
    };
    let (found, expected) = (rows::event_id(row, 2)?, EventId::of(upload, kind));
    let kind = kind.as_str();
    Ok((found != expected)
        .then(|| format!("event {kind} of {upload} has the id {found} instead of {expected}")))
}
