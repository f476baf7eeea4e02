//! The outbox: deliveries that are due, what came of them, and what waits. A delivery's row goes when it has ended, so the table
//! is as large as the backlog; how much waits for each receiver is counted along, not counted up.

use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, Row};

use super::{SqliteMeta, events, relay, rows};
use crate::{
    meta::{Attempt, Backlog, Delivery, Error, LogEntry, Next, Outbox, Receiver},
    model::Timestamp,
};

type Result<T> = rusqlite::Result<T>;

const ENABLED: &str = "SELECT id FROM receivers WHERE url = ?1 AND disabled_at IS NULL";

pub(super) const DUE: &str = "SELECT d.event, e.payload, e.time, d.tries
    FROM deliveries d JOIN events e ON e.seq = d.seq
    WHERE d.receiver = ?1 AND d.due <= ?2 ORDER BY d.due, d.seq LIMIT ?3";

const LEASE: &str = "UPDATE deliveries SET due = ?3 WHERE event = ?1 AND receiver = ?2";

pub(super) const PENDING: &str =
    "SELECT d.receiver, d.tries FROM deliveries d JOIN receivers r ON r.id = d.receiver
    WHERE d.event = ?1 AND r.url = ?2";

const AGAIN: &str = "UPDATE deliveries SET due = ?3, tries = ?4 WHERE event = ?1 AND receiver = ?2";

const END: &str = "DELETE FROM deliveries WHERE event = ?1 AND receiver = ?2";

const ONE_LESS: &str = "UPDATE receivers SET pending = pending - 1 WHERE id = ?1";

const NOTE: &str =
    "INSERT INTO delivery_log (event, receiver, number, at, status, error, took_ms, next, next_at)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";

const SET_DISABLED: &str = "INSERT INTO receivers (url, disabled_at) VALUES (?1, ?2)
    ON CONFLICT (url) DO UPDATE SET disabled_at = excluded.disabled_at";

const DISABLED: &str = "SELECT url FROM receivers WHERE disabled_at IS NOT NULL ORDER BY url";

const WAITING: &str = "SELECT coalesce(sum(pending), 0) FROM receivers";

/// Deliveries are of events that were relayed, so they are older than those that were not.
pub(super) const OLDEST: &str = "SELECT time FROM events
    WHERE seq >= coalesce((SELECT min(seq) FROM deliveries), (SELECT relayed + 1 FROM progress)) ORDER BY seq LIMIT 1";

pub(super) const LOG: &str =
    "SELECT l.event, r.url, l.at, l.status, l.error, l.took_ms, l.next, l.next_at, l.number
    FROM delivery_log l JOIN receivers r ON r.id = l.receiver ORDER BY l.id DESC LIMIT ?1";

#[async_trait]
impl Outbox for SqliteMeta {
    async fn relay(
        &self,
        receivers: &[Receiver],
        limit: usize,
        at: Timestamp,
    ) -> std::result::Result<usize, Error> {
        let receivers = receivers.to_vec();
        self.write(move |connection| relay::relay(connection, &receivers, limit, at)).await
    }

    async fn due(
        &self,
        receiver: &str,
        limit: usize,
        at: Timestamp,
        lease: Duration,
    ) -> std::result::Result<Vec<Delivery>, Error> {
        let url = receiver.to_owned();
        self.write(move |connection| due(connection, &url, limit, at, at.after(lease))).await
    }

    async fn settle(&self, attempts: &[Attempt]) -> std::result::Result<(), Error> {
        let attempts = attempts.to_vec();
        self.write(move |connection| attempts.iter().try_for_each(|attempt| settle(connection, attempt)))
            .await
    }

    async fn set_disabled(
        &self,
        receiver: &str,
        disabled: bool,
        at: Timestamp,
    ) -> std::result::Result<(), Error> {
        let url = receiver.to_owned();
        self.write(move |connection| {
            let since = disabled.then(|| rows::ms(at)).transpose()?;
            connection.execute(SET_DISABLED, (url, since)).map(drop)
        })
        .await
    }

    async fn disabled(&self) -> std::result::Result<Vec<String>, Error> {
        self.read(|connection| {
            connection.prepare_cached(DISABLED)?.query_map([], |row| row.get(0))?.collect()
        })
        .await
    }

    async fn backlog(&self) -> std::result::Result<Backlog, Error> {
        self.read(backlog).await
    }

    async fn log(&self, limit: usize) -> std::result::Result<Vec<LogEntry>, Error> {
        self.read(move |connection| {
            connection.prepare_cached(LOG)?.query_map([rows::at_most(limit)], log_entry)?.collect()
        })
        .await
    }
}

fn due(
    connection: &Connection,
    url: &str,
    limit: usize,
    at: Timestamp,
    until: Timestamp,
) -> Result<Vec<Delivery>> {
    let receiver: Option<i64> =
        connection.prepare_cached(ENABLED)?.query_row([url], |row| row.get(0)).optional()?;
    let Some(receiver) = receiver else { return Ok(Vec::new()) };
    let deliveries: Vec<_> = connection
        .prepare_cached(DUE)?
        .query_map((receiver, rows::ms(at)?, rows::at_most(limit)), |row| delivery(row, url))?
        .collect::<Result<_>>()?;
    let mut lease = connection.prepare_cached(LEASE)?;
    for delivery in &deliveries {
        lease.execute((delivery.event.as_bytes(), receiver, rows::ms(until)?))?;
    }
    Ok(deliveries)
}

fn delivery(row: &Row<'_>, url: &str) -> Result<Delivery> {
    Ok(Delivery {
        event: rows::event_id(row, 0)?,
        receiver: url.to_owned(),
        payload: row.get(1)?,
        time: rows::time(row, 2)?,
        tries: row.get(3)?,
    })
}

/// A delivery that has ended stays as it ended: the try was another's too, or is told again.
fn settle(connection: &Connection, attempt: &Attempt) -> Result<()> {
    let event = attempt.event.as_bytes();
    let pending = connection
        .prepare_cached(PENDING)?
        .query_row((event, attempt.receiver.as_str()), |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, u32>(1)?))
        })
        .optional()?;
    let Some((receiver, tries)) = pending else { return Ok(()) };
    let number = tries.saturating_add(1);
    match attempt.next {
        Next::Retry(due) => {
            connection.prepare_cached(AGAIN)?.execute((event, receiver, rows::ms(due)?, number))?;
        }
        Next::Delivered | Next::GivenUp => {
            connection.prepare_cached(END)?.execute((event, receiver))?;
            connection.prepare_cached(ONE_LESS)?.execute([receiver])?;
        }
    }
    note(connection, attempt, receiver, number)
}

fn note(connection: &Connection, attempt: &Attempt, receiver: i64, number: u32) -> Result<()> {
    let (next, next_at) = match attempt.next {
        Next::Delivered => ("delivered", None),
        Next::Retry(due) => ("retry", Some(rows::ms(due)?)),
        Next::GivenUp => ("given_up", None),
    };
    let took_ms = i64::try_from(attempt.took.as_millis()).unwrap_or(i64::MAX);
    connection.prepare_cached(NOTE)?.execute((
        attempt.event.as_bytes(),
        receiver,
        number,
        rows::ms(attempt.at)?,
        attempt.status,
        attempt.error.as_deref(),
        took_ms,
        next,
        next_at,
    ))?;
    Ok(())
}

fn backlog(connection: &Connection) -> Result<Backlog> {
    let one = |sql| connection.prepare_cached(sql)?.query_row([], |row| rows::unsigned(row, 0));
    let (waiting, relayed) = (one(WAITING)?, one(relay::RELAYED)?);
    let unrelayed = u64::try_from(events::last(connection)?).unwrap_or(0).saturating_sub(relayed);
    let oldest = one(OLDEST).optional()?.map(Timestamp::from_unix_ms);
    Ok(Backlog { pending: waiting + unrelayed, oldest })
}

fn log_entry(row: &Row<'_>) -> Result<LogEntry> {
    let next = match row.get_ref(6)?.as_str()? {
        "delivered" => Next::Delivered,
        "retry" => Next::Retry(rows::time(row, 7)?),
        _ => Next::GivenUp,
    };
    let attempt = Attempt {
        event: rows::event_id(row, 0)?,
        receiver: row.get(1)?,
        at: rows::time(row, 2)?,
        status: row.get(3)?,
        error: row.get(4)?,
        took: Duration::from_millis(rows::unsigned(row, 5)?),
        next,
    };
    Ok(LogEntry { attempt, number: row.get(8)? })
}
