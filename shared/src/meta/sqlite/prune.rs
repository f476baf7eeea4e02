//! Forgets what is over and old. In steps of a few hundred rows, so that no upload waits long for one.
//!
//! The moment up to which things may have been forgotten is written down first: from then on an audit knows why they are not there.

use rusqlite::Connection;

use super::{SqliteMeta, rows};
use crate::{meta::Error, model::Timestamp};

type Result<T> = rusqlite::Result<T>;

/// The most rows that one step looks at: a few milliseconds.
const STEP: usize = 500;

const MOVE_HORIZON: &str = "UPDATE progress SET pruned = max(pruned, ?1)";

/// Tombstones first: one without its ledger row would be a contradiction.
pub(super) const TOMBSTONES: &str = "DELETE FROM tombstones WHERE (scope, path, version) IN
    (SELECT scope, path, version FROM tombstones WHERE at < ?1 ORDER BY at LIMIT ?2)";

pub(super) const LEDGER: &str = "DELETE FROM ledger WHERE id IN
    (SELECT id FROM ledger WHERE state <> 'stored' AND purged = 1 AND at < ?1 ORDER BY at LIMIT ?2)";

/// Deliveries that nobody took for so long: their receiver is disabled, or is in the settings no more.
pub(super) const DELIVERIES: &str = "DELETE FROM deliveries WHERE (event, receiver) IN
    (SELECT event, receiver FROM deliveries WHERE receiver = ?1 AND due < ?2 ORDER BY due LIMIT ?3)";

const FEWER: &str = "UPDATE receivers SET pending = pending - ?2 WHERE id = ?1";

pub(super) const EVENTS: &str =
    "SELECT e.seq, e.time < ?2, EXISTS (SELECT 1 FROM deliveries d WHERE d.seq = e.seq)
    FROM events e WHERE e.seq > ?1 AND e.seq <= (SELECT relayed FROM progress) ORDER BY e.seq LIMIT ?3";

const FORGET_EVENT: &str = "DELETE FROM events WHERE seq = ?1";

pub(super) const LOG: &str = "SELECT id, at < ?2, 0 FROM delivery_log WHERE id > ?1 ORDER BY id LIMIT ?3";

const FORGET_LOG: &str = "DELETE FROM delivery_log WHERE id = ?1";

/// Forgets what is from before `before`; says how many ledger rows and events went.
pub(super) async fn prune(meta: &SqliteMeta, before: Timestamp) -> std::result::Result<u64, Error> {
    meta.write(move |connection| connection.execute(MOVE_HORIZON, [rows::ms(before)?]).map(drop)).await?;
    forget(meta, TOMBSTONES, before).await?;
    let ledger = forget(meta, LEDGER, before).await?;
    while meta.write(move |connection| forget_deliveries(connection, before)).await? {}
    let events = walk(meta, EVENTS, FORGET_EVENT, before).await?;
    walk(meta, LOG, FORGET_LOG, before).await?;
    Ok(ledger + events)
}

/// Runs a deletion step by step, until one finds less than it may take.
async fn forget(meta: &SqliteMeta, step: &'static str, before: Timestamp) -> std::result::Result<u64, Error> {
    let mut gone = 0;
    loop {
        let went = meta
            .write(move |connection| {
                connection.prepare_cached(step)?.execute((rows::ms(before)?, rows::at_most(STEP)))
            })
            .await?;
        gone += went as u64;
        if went < STEP {
            return Ok(gone);
        }
    }
}

/// A step of deliveries to each receiver; says whether there were any.
fn forget_deliveries(connection: &Connection, before: Timestamp) -> Result<bool> {
    let receivers: Vec<i64> = connection
        .prepare_cached("SELECT id FROM receivers")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_>>()?;
    let mut any = false;
    for receiver in receivers {
        let step = (receiver, rows::ms(before)?, rows::at_most(STEP));
        let gone = connection.prepare_cached(DELIVERIES)?.execute(step)?;
        connection.prepare_cached(FEWER)?.execute((receiver, rows::at_most(gone)))?;
        any |= gone > 0;
    }
    Ok(any)
}

/// Walks through a table that is in the order of time, from its oldest row to the first that is too young. Rows that are still
/// needed are stepped over, once.
async fn walk(
    meta: &SqliteMeta,
    select: &'static str,
    delete: &'static str,
    before: Timestamp,
) -> std::result::Result<u64, Error> {
    let (mut behind, mut gone) = (0, 0);
    loop {
        let step =
            meta.write(move |connection| walk_step(connection, select, delete, behind, before)).await?;
        gone += step.gone;
        match step.next {
            Some(next) => behind = next,
            None => return Ok(gone),
        }
    }
}

struct Step {
    gone: u64,
    /// Where to go on; `None` at the end.
    next: Option<i64>,
}

fn walk_step(
    connection: &Connection,
    select: &str,
    delete: &str,
    behind: i64,
    before: Timestamp,
) -> Result<Step> {
    let rows: Vec<(i64, bool, bool)> = connection
        .prepare_cached(select)?
        .query_map((behind, rows::ms(before)?, rows::at_most(STEP)), |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?
        .collect::<Result<_>>()?;
    let mut forget = connection.prepare_cached(delete)?;
    let mut step = Step { gone: 0, next: rows.last().filter(|_| rows.len() == STEP).map(|row| row.0) };
    for (number, old, needed) in rows {
        if !old {
            step.next = None;
            break;
        }
        if !needed {
            forget.execute([number])?;
            step.gone += 1;
        }
    }
    Ok(step)
}
