//! Makes deliveries of events. What is new is a range of numbers, so that with nobody to tell it is one change of one row.

use rusqlite::Connection;

use super::{events, rows};
use crate::{
    meta::Receiver,
    model::{EventType, Timestamp},
};

type Result<T> = rusqlite::Result<T>;

pub(super) const RELAYED: &str = "SELECT relayed FROM progress";

pub(super) const MAKE: &str = "INSERT INTO deliveries (event, receiver, seq, due)
    SELECT id, ?1, seq, ?2 FROM events WHERE seq > ?3 AND seq <= ?4 AND (?5 IS NULL OR type = ?5)
    ON CONFLICT (event, receiver) DO NOTHING";

const PENDING: &str = "UPDATE receivers SET pending = pending + ?2 WHERE id = ?1";

const ADVANCE: &str = "UPDATE progress SET relayed = ?1";

/// Makes the deliveries of the next events, at most `limit`, and says how many events there were.
pub(super) fn relay(
    connection: &Connection,
    receivers: &[Receiver],
    limit: usize,
    at: Timestamp,
) -> Result<usize> {
    let relayed: i64 = connection.prepare_cached(RELAYED)?.query_row([], |row| row.get(0))?;
    let to = events::last(connection)?.min(relayed.saturating_add(rows::at_most(limit)));
    if to == relayed {
        return Ok(0);
    }
    for receiver in receivers {
        deliver(connection, receiver, (relayed, to), at)?;
    }
    connection.prepare_cached(ADVANCE)?.execute([to])?;
    Ok(usize::try_from(to - relayed).unwrap_or(limit))
}

/// Makes deliveries to one receiver, of the events behind `from`, up to `to`.
fn deliver(
    connection: &Connection,
    receiver: &Receiver,
    (from, to): (i64, i64),
    at: Timestamp,
) -> Result<()> {
    let number = number_receiver(connection, &receiver.url)?;
    let mut make = connection.prepare_cached(MAKE)?;
    let mut made = 0;
    for kind in wanted(receiver) {
        made += make.execute((number, rows::ms(at)?, from, to, kind))?;
    }
    connection.prepare_cached(PENDING)?.execute((number, rows::at_most(made)))?;
    Ok(())
}

/// The types to ask for, one after the other; `None` asks for all.
fn wanted(receiver: &Receiver) -> Vec<Option<&'static str>> {
    match receiver.events.as_slice() {
        [] => vec![None],
        some => some.iter().copied().map(EventType::as_str).map(Some).collect(),
    }
}

fn number_receiver(connection: &Connection, url: &str) -> Result<i64> {
    connection.execute("INSERT INTO receivers (url) VALUES (?1) ON CONFLICT (url) DO NOTHING", [url])?;
    connection.prepare_cached("SELECT id FROM receivers WHERE url = ?1")?.query_row([url], |row| row.get(0))
}
