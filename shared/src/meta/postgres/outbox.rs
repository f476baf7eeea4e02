//! The outbox: deliveries that are due, what came of them, and what waits. A delivery's row goes when it has ended, so the table
//! is as large as the backlog; how much waits for each receiver is counted along, not counted up.

use std::time::Duration;

use async_trait::async_trait;
use tokio_postgres::{Row, types::Type};

use super::{PostgresMeta, fault::Fault, relay, rows, server::Mode, settle};
use crate::{
    meta::{Attempt, Backlog, Delivery, Error, LogEntry, Next, Outbox, Receiver},
    model::Timestamp,
};

/// Deliveries that another process takes at this moment are passed over.
const DUE: &str = "WITH taken AS (
        SELECT d.event, d.receiver, d.seq, d.due, d.tries FROM deliveries d
        WHERE d.receiver = (SELECT id FROM receivers WHERE url = $1 AND disabled_at IS NULL) AND d.due <= $2
        ORDER BY d.due, d.seq LIMIT $3 FOR UPDATE SKIP LOCKED),
    leased AS (UPDATE deliveries d SET due = $4 FROM taken t WHERE d.event = t.event AND d.receiver = t.receiver)
    SELECT t.event, e.payload, e.time, t.tries FROM taken t JOIN events e ON e.seq = t.seq ORDER BY t.due, t.seq";

const SET_DISABLED: &str = "INSERT INTO receivers (url, disabled_at) VALUES ($1, $2)
    ON CONFLICT (url) DO UPDATE SET disabled_at = excluded.disabled_at";

const DISABLED: &str = "SELECT url FROM receivers WHERE disabled_at IS NOT NULL ORDER BY url";

/// Batches are counted up to the thousandth: with more, at least so many events wait.
const WAITING: &str = "SELECT
    (SELECT coalesce(sum(pending), 0) FROM receivers)::bigint
    + (SELECT coalesce(sum(events - next), 0) FROM (SELECT events, next FROM unrelayed ORDER BY batch LIMIT 1000) u)::bigint,
    least((SELECT time FROM unrelayed ORDER BY batch LIMIT 1),
        (SELECT e.time FROM events e WHERE e.seq = (SELECT min(d.seq) FROM deliveries d)))";

const LOG: &str = "SELECT l.event, r.url, l.at, l.status, l.error, l.took_ms, l.next, l.next_at, l.number
    FROM delivery_log l JOIN receivers r ON r.id = l.receiver ORDER BY l.id DESC LIMIT $1";

#[async_trait]
impl Outbox for PostgresMeta {
    async fn relay(&self, receivers: &[Receiver], limit: usize, at: Timestamp) -> Result<usize, Error> {
        Ok(relay::relay(self.writer()?, receivers, limit, at).await?)
    }

    async fn due(
        &self,
        receiver: &str,
        limit: usize,
        at: Timestamp,
        lease: Duration,
    ) -> Result<Vec<Delivery>, Error> {
        let (until, at) = (rows::ms(at.after(lease))?, rows::ms(at)?);
        let values = [
            (&receiver as _, Type::TEXT),
            (&at as _, Type::INT8),
            (&rows::at_most(limit) as _, Type::INT8),
            (&until as _, Type::INT8),
        ];
        let rows = self.change(DUE, &values).await?;
        Ok(rows.iter().map(|row| delivery(row, receiver)).collect::<Result<_, _>>()?)
    }

    async fn settle(&self, attempts: &[Attempt]) -> Result<(), Error> {
        Ok(settle::settle(self.writer()?, attempts).await?)
    }

    async fn set_disabled(&self, receiver: &str, disabled: bool, at: Timestamp) -> Result<(), Error> {
        let since = disabled.then(|| rows::ms(at)).transpose()?;
        self.change(SET_DISABLED, &[(&receiver, Type::TEXT), (&since, Type::INT8)]).await?;
        Ok(())
    }

    async fn disabled(&self) -> Result<Vec<String>, Error> {
        let rows = self.primary.ask(Mode::Read, DISABLED, &[]).await?;
        Ok(rows.iter().map(|row| rows::get(row, 0)).collect::<Result<_, _>>()?)
    }

    async fn backlog(&self) -> Result<Backlog, Error> {
        let rows = self.primary.ask(Mode::Read, WAITING, &[]).await?;
        let Some(row) = rows.first() else { return Ok(Backlog::default()) };
        let oldest = rows::get::<Option<i64>>(row, 1)?.and_then(|ms| u64::try_from(ms).ok());
        Ok(Backlog { pending: rows::unsigned(row, 0)?, oldest: oldest.map(Timestamp::from_unix_ms) })
    }

    async fn log(&self, limit: usize) -> Result<Vec<LogEntry>, Error> {
        let rows = self.primary.ask(Mode::Read, LOG, &[(&rows::at_most(limit), Type::INT8)]).await?;
        Ok(rows.iter().map(log_entry).collect::<Result<_, _>>()?)
    }
}

fn delivery(row: &Row, url: &str) -> Result<Delivery, Fault> {
    Ok(Delivery {
        event: rows::event_id(row, 0)?,
        receiver: url.to_owned(),
        payload: rows::get(row, 1)?,
        time: rows::time(row, 2)?,
        tries: u32::try_from(rows::unsigned(row, 3)?).map_err(Fault::row)?,
    })
}

fn log_entry(row: &Row) -> Result<LogEntry, Fault> {
    let next = match rows::get(row, 6)? {
        "delivered" => Next::Delivered,
        "retry" => Next::Retry(rows::time(row, 7)?),
        _ => Next::GivenUp,
    };
    let status = rows::get::<Option<i64>>(row, 3)?.map(u16::try_from).transpose().map_err(Fault::row)?;
    let attempt = Attempt {
        event: rows::event_id(row, 0)?,
        receiver: rows::get(row, 1)?,
        at: rows::time(row, 2)?,
        status,
        error: rows::get(row, 4)?,
        took: Duration::from_millis(rows::unsigned(row, 5)?),
        next,
    };
    Ok(LogEntry { attempt, number: u32::try_from(rows::unsigned(row, 8)?).map_err(Fault::row)? })
}
