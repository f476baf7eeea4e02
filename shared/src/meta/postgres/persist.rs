//! Writes a batch of uploads' ends. The hot path of the whole store: three flights for each batch, and set-wise statements whatever
//! its size.
//!
//! Two batches at once take what they need in the same order (scopes, uploads, paths, usage), so that none waits for one that waits
//! for it. Versions need no lock at first: two batches that give the same version of a path are told apart by the index of paths,
//! and the second is repeated, alone in its scopes. So batches of one scope run side by side, as long as their paths differ; only
//! the scope's usage is changed one after the other, at the very end.

mod batch;
mod judge;

use std::collections::{HashMap, HashSet};

use tokio_postgres::{Row, types::Type};

use super::{
    events,
    fault::Fault,
    ledger::STATES,
    rows,
    server::{Mode, Server},
    transaction::{Deadline, Statement, Transaction, Value},
};
use crate::{
    meta::{Record, Verdict},
    model::{State, Timestamp, UploadId},
};
use batch::Batch;
use judge::{Judged, Newest, judge};

/// Side by side with others that store objects in these scopes, none of whom gives away that it does.
const TOGETHER: &str = "SELECT pg_advisory_xact_lock_shared(scope) FROM unnest($1::bigint[]) AS scope";

/// Until everybody else is done with these scopes.
pub(super) const ALONE: &str = "SELECT pg_advisory_xact_lock(scope) FROM unnest($1::bigint[]) AS scope";

const NUMBERS: &str = "SELECT s.id FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS w(org, project, n)
    LEFT JOIN scopes s ON s.org = w.org AND s.project = w.project ORDER BY w.n";

/// Gives numbers to scopes that have none, in the order given.
pub(super) const NUMBER: &str = "INSERT INTO scopes (org, project)
    SELECT w.org, w.project FROM unnest($1::text[], $2::text[]) AS w(org, project)
    ON CONFLICT (org, project) DO NOTHING";

macro_rules! enter {
    ($or_else:literal) => {
        concat!(
            "INSERT INTO ledger (id, scope, state, size, at, reason, purged)
    SELECT e.id, e.scope, CASE WHEN e.reason IS NULL THEN 'stored' ELSE 'failed' END, e.size, $5, e.reason, e.reason IS NOT NULL
    FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::text[]) AS e(id, scope, size, reason)",
            $or_else
        )
    };
}

/// Waits for a batch that enters the same upload, and fails when that one has committed. A failure that is brought along leaves the
/// bytes alone.
const ENTER: &str = enter!("");

/// Goes on without the uploads that are there, and says which are not. Costs half as much again.
const ENTER_NEW: &str = enter!(" ON CONFLICT (id) DO NOTHING RETURNING id");

/// The newest version that is there, and the newest that was deleted: no number is given twice. New paths answer with nothing.
const NEWEST: &str = "SELECT p.n, v.version, v.there
    FROM unnest($1::bigint[], $2::text[]) WITH ORDINALITY AS p(scope, path, n) CROSS JOIN LATERAL (
        (SELECT o.version, true AS there FROM objects o
            WHERE o.scope = p.scope AND o.path = p.path ORDER BY o.version DESC LIMIT 1)
        UNION ALL
        (SELECT t.version, false FROM tombstones t
            WHERE t.scope = p.scope AND t.path = p.path ORDER BY t.version DESC LIMIT 1)) v";

const OBJECTS: &str =
    "INSERT INTO objects (id, scope, path, version, size, stored_at, crc64nvme, sha256, content_type, sniffed_type)
    SELECT o.id, o.scope, o.path, o.version, o.size, $10, o.crc, o.sha, o.type, o.sniffed
    FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bytea[], $8::text[],
        $9::text[]) AS o(id, scope, path, version, size, crc, sha, type, sniffed)";

/// The ledger took them for stored, before their paths were looked at.
const TAKEN: &str = "UPDATE ledger SET state = 'failed', size = 0, reason = $2 WHERE id = ANY($1)";

/// Locks in the order of numbers, whatever order the update goes by.
const USE: &str = "WITH added AS (
        SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS a(id, objects, bytes)),
    locked AS (SELECT s.id FROM scopes s WHERE s.id = ANY($1) ORDER BY s.id FOR NO KEY UPDATE)
    UPDATE scopes s SET objects = s.objects + a.objects, bytes = s.bytes + a.bytes
    FROM locked l JOIN added a ON a.id = l.id WHERE s.id = l.id";

/// What a batch takes for granted, because it is cheaper and nearly always so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Guess {
    /// The ledger has none of the uploads. (A job that is done again, after a crash, has one that is there.)
    new: bool,
    /// Nobody else gives the same versions meanwhile; else this batch must be alone in its scopes.
    apart: bool,
}

impl Guess {
    /// Whether a fault shows that this guess was wrong; it is not made again.
    fn is_refuted_by(&mut self, fault: &Fault) -> bool {
        let guessed = *self;
        self.new &= !fault.is_known();
        self.apart &= !fault.is_collision();
        *self != guessed
    }
}

/// Writes `records`, and says what each led to, in their order.
pub(super) async fn persist(
    server: &Server,
    records: &[Record],
    at: Timestamp,
) -> Result<Vec<Verdict>, Fault> {
    if records.is_empty() {
        return Ok(Vec::new());
    }
    let batch = Batch::new(records)?;
    let mut tries = server.tries(Mode::Write);
    let mut guess = Guess { new: true, apart: true };
    loop {
        match write(server, &batch, guess, at, tries.deadline).await {
            Err(fault) if guess.is_refuted_by(&fault) => {}
            Err(fault) if tries.again(&fault).await => {}
            outcome => return outcome,
        }
    }
}

async fn write(
    server: &Server,
    batch: &Batch<'_>,
    guess: Guess,
    at: Timestamp,
    deadline: Deadline,
) -> Result<Vec<Verdict>, Fault> {
    let mut transaction = server.begin_by(Mode::Write, deadline).await?;
    let scopes = number(&mut transaction, batch, guess).await?;
    let (new, newest) = enter(&mut transaction, batch, &scopes, guess, at).await?;
    let judged = judge(&batch.lines, new, newest);
    let known = store(transaction, batch, &scopes, &judged, at).await?;
    judged.finish(&batch.lines, &known)
}

/// Locks the batch's scopes, and gives numbers to those that have none.
async fn number(
    transaction: &mut Transaction<'_>,
    batch: &Batch<'_>,
    guess: Guess,
) -> Result<Vec<i64>, Fault> {
    let lock = if guess.apart { TOGETHER } else { ALONE };
    let lock = Statement { sql: lock, values: &[(&batch.locks, Type::INT8_ARRAY)] };
    let names: [Value<'_>; 2] = [(&batch.orgs, Type::TEXT_ARRAY), (&batch.projects, Type::TEXT_ARRAY)];
    let numbers = Statement { sql: NUMBERS, values: &names };
    let [_, found] = transaction.say([lock, numbers]).await?;
    if let Some(all) = all_numbers(&found)? {
        return Ok(all);
    }
    let [_, found] = transaction.say([Statement { sql: NUMBER, values: &names }, numbers]).await?;
    all_numbers(&found)?.ok_or(Fault::Overtaken)
}

fn all_numbers(rows: &[Row]) -> Result<Option<Vec<i64>>, Fault> {
    rows.iter().map(|row| rows::get::<Option<i64>>(row, 0)).collect()
}

/// Enters all uploads into the ledger, and looks up the newest versions of all paths. Says which uploads are new.
async fn enter(
    transaction: &mut Transaction<'_>,
    batch: &Batch<'_>,
    scopes: &[i64],
    guess: Guess,
    at: Timestamp,
) -> Result<(HashSet<UploadId>, Vec<Newest>), Fault> {
    let (uploads, at) = (batch.uploads(scopes), rows::ms(at)?);
    let (path_scopes, paths) = batch.paths(scopes);
    let values = [
        (&uploads.ids as _, Type::UUID_ARRAY),
        (&uploads.scopes as _, Type::INT8_ARRAY),
        (&uploads.sizes as _, Type::INT8_ARRAY),
        (&uploads.reasons as _, Type::TEXT_ARRAY),
        (&at as _, Type::INT8),
    ];
    let enter = Statement { sql: if guess.new { ENTER } else { ENTER_NEW }, values: &values };
    let values = [(&path_scopes as _, Type::INT8_ARRAY), (&paths as _, Type::TEXT_ARRAY)];
    let [entered, found] = transaction.say([enter, Statement { sql: NEWEST, values: &values }]).await?;
    let mut newest = vec![Newest::default(); batch.path_count()];
    for row in &found {
        let place = usize::try_from(rows::unsigned(row, 0)?).map_err(Fault::row)?;
        let path = place.checked_sub(1).and_then(|place| newest.get_mut(place));
        let path = path.ok_or_else(|| Fault::row("a path that was not asked for"))?;
        path.add(rows::unsigned(row, 1)?, rows::get(row, 2)?);
    }
    let new = if guess.new {
        batch.lines.iter().map(|line| line.record.id).collect()
    } else {
        entered.iter().map(|row| rows::upload_id(row, 0)).collect::<Result<_, _>>()?
    };
    Ok((new, newest))
}

/// Writes what is new, commits, and says what was known of the rest.
async fn store(
    transaction: Transaction<'_>,
    batch: &Batch<'_>,
    scopes: &[i64],
    judged: &Judged,
    at: Timestamp,
) -> Result<HashMap<UploadId, State>, Fault> {
    let (objects, usage) = (batch.objects(scopes, judged)?, batch.usage(scopes, judged)?);
    let events = events::Batch::new(&judged.events(&batch.lines, at), at)?;
    let at = rows::ms(at)?;
    let known: [Value<'_>; 1] = [(&judged.known, Type::UUID_ARRAY)];
    let taken: [Value<'_>; 2] = [(&judged.taken, Type::UUID_ARRAY), (&judge::EXISTS, Type::TEXT)];
    let (stored, appended) = (objects.values(&at), events.values());
    let used: [Value<'_>; 3] = [
        (&usage.scopes, Type::INT8_ARRAY),
        (&usage.objects, Type::INT8_ARRAY),
        (&usage.bytes, Type::INT8_ARRAY),
    ];
    let steps = [
        (!judged.known.is_empty(), Statement { sql: STATES, values: &known }),
        (!judged.taken.is_empty(), Statement { sql: TAKEN, values: &taken }),
        (!judged.stored.is_empty(), Statement { sql: OBJECTS, values: &stored }),
        (!events.is_empty(), Statement { sql: events::APPEND, values: &appended }),
        (!judged.stored.is_empty(), Statement { sql: USE, values: &used }),
    ];
    let needed: Vec<_> = steps.into_iter().filter_map(|(needed, step)| needed.then_some(step)).collect();
    let answers = transaction.end(&needed).await?;
    let known = answers.first().filter(|_| !judged.known.is_empty()).map_or(&[][..], Vec::as_slice);
    known.iter().map(|row| Ok((rows::upload_id(row, 0)?, rows::state(row, 1)?))).collect()
}
