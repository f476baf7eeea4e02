//! Forgets what is over and old. In steps of a few hundred rows, so that no upload waits long for one.
//!
//! The moment up to which things may have been forgotten is written down first: from then on an audit knows why they are not there.

use tokio_postgres::types::Type;

use super::{
    fault::Fault,
    locks, persist, rows,
    server::{Mode, Server},
    transaction::{Statement, Transaction},
};
use crate::model::Timestamp;

/// The most rows that one step looks at: a few milliseconds.
const STEP: usize = 500;

const MOVE_HORIZON: &str = "UPDATE progress SET pruned = greatest(pruned, $1)";

const TOMBSTONES: &str = "SELECT t.scope, t.path, t.version, s.org, s.project
    FROM (SELECT scope, path, version FROM tombstones WHERE at < $1 ORDER BY at LIMIT $2) t JOIN scopes s ON s.id = t.scope";

const FORGET_TOMBSTONES: &str = "DELETE FROM tombstones t
    USING unnest($1::bigint[], $2::text[], $3::bigint[]) AS o(scope, path, version)
    WHERE t.scope = o.scope AND t.path = o.path AND t.version = o.version";

const LEDGER: &str = "WITH old AS (
        SELECT id FROM ledger WHERE state <> 'stored' AND purged AND at < $1 ORDER BY at LIMIT $2 FOR UPDATE SKIP LOCKED),
    gone AS (DELETE FROM ledger l USING old WHERE l.id = old.id RETURNING 1)
    SELECT count(*) FROM gone";

/// Deliveries that nobody took for so long: their receiver is disabled, or is in nobody's settings any more. With how many of them there
/// were; receivers are locked in the order of numbers, whatever order the update goes by.
const DELIVERIES: &str = "WITH old AS (
        SELECT o.event, o.receiver FROM receivers r CROSS JOIN LATERAL (
            SELECT d.event, d.receiver FROM deliveries d WHERE d.receiver = r.id AND d.due < $1
            ORDER BY d.due LIMIT $2 FOR UPDATE SKIP LOCKED) o),
    gone AS (DELETE FROM deliveries d USING old o WHERE d.event = o.event AND d.receiver = o.receiver
        RETURNING d.receiver),
    counted AS (SELECT receiver, count(*) AS count FROM gone GROUP BY receiver),
    locked AS (SELECT r.id FROM receivers r WHERE r.id IN (SELECT receiver FROM counted)
        ORDER BY r.id FOR NO KEY UPDATE)
    UPDATE receivers r SET pending = r.pending - c.count
    FROM locked l JOIN counted c ON c.receiver = l.id WHERE r.id = l.id RETURNING c.count";

/// What is needed still is not relayed, or has a delivery that has not ended. Looked up for each event of the step: an EXISTS would
/// be made into a scan of all that waits.
const EVENTS: &str = "SELECT s.seq, s.time < $2, d.one IS NOT NULL OR u.one IS NOT NULL
    FROM (SELECT seq, time FROM events WHERE seq > $1 ORDER BY seq LIMIT $3) s
    LEFT JOIN LATERAL (SELECT 1 AS one FROM deliveries d WHERE d.seq = s.seq LIMIT 1) d ON true
    LEFT JOIN LATERAL (SELECT 1 AS one FROM unrelayed u WHERE u.batch = s.seq >> 20 LIMIT 1) u ON true
    ORDER BY s.seq";

const FORGET_EVENTS: &str = "DELETE FROM events WHERE seq = ANY($1)";

const LOG: &str = "SELECT id, at < $2, false FROM delivery_log WHERE id > $1 ORDER BY id LIMIT $3";

const FORGET_LOG: &str = "DELETE FROM delivery_log WHERE id = ANY($1)";

/// Forgets what is from before `before`; says how many ledger rows and events went.
pub(super) async fn prune(server: &Server, before: Timestamp) -> Result<u64, Fault> {
    let before = rows::ms(before)?;
    server.ask(Mode::Write, MOVE_HORIZON, &[(&before, Type::INT8)]).await?;
    while forget_tombstones(server, before).await? == STEP {}
    let ledger = forget_uploads(server, before).await?;
    forget_deliveries(server, before).await?;
    let events = walk(server, EVENTS, FORGET_EVENTS, before).await?;
    walk(server, LOG, FORGET_LOG, before).await?;
    Ok(ledger + events)
}

/// A step of tombstones, which go first: one without its ledger row would be a contradiction. Nobody stores an object in their
/// scopes meanwhile: else one batch would count from the tombstone and another one from what was before it.
async fn forget_tombstones(server: &Server, before: i64) -> Result<usize, Fault> {
    let mut transaction = server.begin(Mode::Write).await?;
    let step = [(&before as _, Type::INT8), (&rows::at_most(STEP) as _, Type::INT8)];
    let [old] = transaction.say([Statement { sql: TOMBSTONES, values: &step }]).await?;
    let (mut scopes, mut paths, mut versions, mut alone) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for row in &old {
        scopes.push(rows::get::<i64>(row, 0)?);
        paths.push(rows::get::<&str>(row, 1)?);
        versions.push(rows::get::<i64>(row, 2)?);
        alone.push(locks::of_scope(&rows::scope(row, 3, 4)?));
    }
    alone.sort_unstable();
    alone.dedup();
    let alone = [(&alone as _, Type::INT8_ARRAY)];
    let values = [
        (&scopes as _, Type::INT8_ARRAY),
        (&paths as _, Type::TEXT_ARRAY),
        (&versions as _, Type::INT8_ARRAY),
    ];
    let steps = [
        Statement { sql: persist::ALONE, values: &alone },
        Statement { sql: FORGET_TOMBSTONES, values: &values },
    ];
    transaction.end(&steps).await?;
    Ok(old.len())
}

async fn forget_uploads(server: &Server, before: i64) -> Result<u64, Fault> {
    let mut gone = 0;
    loop {
        let step = [(&before as _, Type::INT8), (&rows::at_most(STEP) as _, Type::INT8)];
        let rows = server.ask(Mode::Write, LEDGER, &step).await?;
        let went = rows.first().map(|row| rows::unsigned(row, 0)).transpose()?.unwrap_or_default();
        gone += went;
        if went < STEP as u64 {
            return Ok(gone);
        }
    }
}

async fn forget_deliveries(server: &Server, before: i64) -> Result<(), Fault> {
    loop {
        let step = [(&before as _, Type::INT8), (&rows::at_most(STEP) as _, Type::INT8)];
        if server.ask(Mode::Write, DELIVERIES, &step).await?.is_empty() {
            return Ok(());
        }
    }
}

/// Walks through a table that is about in the order of time, from its oldest row to the first that is too young. Rows that are still
/// needed are stepped over, once.
async fn walk(server: &Server, select: &str, delete: &str, before: i64) -> Result<u64, Fault> {
    let (mut behind, mut gone) = (i64::MIN, 0);
    loop {
        let mut transaction = server.begin(Mode::Write).await?;
        let step = walk_step(&mut transaction, select, behind, before).await?;
        let forget = [(&step.over as _, Type::INT8_ARRAY)];
        transaction.end(&[Statement { sql: delete, values: &forget }]).await?;
        gone += step.over.len() as u64;
        match step.next {
            Some(next) => behind = next,
            None => return Ok(gone),
        }
    }
}

struct Step {
    /// What nobody needs.
    over: Vec<i64>,
    /// Where to go on; `None` at the end.
    next: Option<i64>,
}

async fn walk_step(
    transaction: &mut Transaction<'_>,
    select: &str,
    behind: i64,
    before: i64,
) -> Result<Step, Fault> {
    let values =
        [(&behind as _, Type::INT8), (&before as _, Type::INT8), (&rows::at_most(STEP) as _, Type::INT8)];
    let [found] = transaction.say([Statement { sql: select, values: &values }]).await?;
    let mut step = Step { over: Vec::new(), next: None };
    for row in &found {
        let (number, old, needed): (i64, bool, bool) =
            (rows::get(row, 0)?, rows::get(row, 1)?, rows::get(row, 2)?);
        if !old {
            return Ok(Step { next: None, ..step });
        }
        if !needed {
            step.over.push(number);
        }
        step.next = Some(number);
    }
    if found.len() < STEP {
        step.next = None;
    }
    Ok(step)
}
