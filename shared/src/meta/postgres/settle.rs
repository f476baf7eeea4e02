//! Writes down what came of tries to deliver. A delivery that has ended stays as it ended: the try was another's too, or is told again.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tokio_postgres::types::Type;
use uuid::Uuid;

use super::{
    fault::Fault,
    rows,
    server::{Mode, Server},
    transaction::{Statement, Transaction, Value},
};
use crate::meta::{Attempt, Next};

/// Locks in the order of events.
const PENDING: &str = "SELECT d.event, r.url, d.receiver, d.tries
    FROM unnest($1::uuid[], $2::text[]) AS a(event, url) JOIN receivers r ON r.url = a.url
    JOIN deliveries d ON d.event = a.event AND d.receiver = r.id
    ORDER BY d.event, d.receiver FOR UPDATE OF d";

const AGAIN: &str = "UPDATE deliveries d SET due = a.due, tries = a.tries
    FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[]) AS a(event, receiver, due, tries)
    WHERE d.event = a.event AND d.receiver = a.receiver";

const END: &str = "DELETE FROM deliveries d USING unnest($1::uuid[], $2::bigint[]) AS a(event, receiver)
    WHERE d.event = a.event AND d.receiver = a.receiver";

const NOTE: &str = "INSERT INTO delivery_log (event, receiver, number, at, status, error, took_ms, next, next_at)
    SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::text[], $7::bigint[],
        $8::text[], $9::bigint[])";

/// Locks in the order of numbers, whatever order the update goes by.
const FEWER: &str = "WITH ended AS (SELECT * FROM unnest($1::bigint[], $2::bigint[]) AS e(receiver, count)),
    locked AS (SELECT r.id FROM receivers r WHERE r.id = ANY($1) ORDER BY r.id FOR NO KEY UPDATE)
    UPDATE receivers r SET pending = r.pending - e.count
    FROM locked l JOIN ended e ON e.receiver = l.id WHERE r.id = l.id";

/// Writes what came of each try.
pub(super) async fn settle(server: &Server, attempts: &[Attempt]) -> Result<(), Fault> {
    if attempts.is_empty() {
        return Ok(());
    }
    let mut tries = server.tries(Mode::Write);
    loop {
        let transaction = server.begin_by(Mode::Write, tries.deadline).await?;
        match run(transaction, attempts).await {
            Err(fault) if tries.again(&fault).await => {}
            outcome => return outcome,
        }
    }
}

async fn run(mut transaction: Transaction<'_>, attempts: &[Attempt]) -> Result<(), Fault> {
    let events: Vec<_> = attempts.iter().map(|attempt| rows::event_uuid(attempt.event)).collect();
    let urls: Vec<_> = attempts.iter().map(|attempt| attempt.receiver.as_str()).collect();
    let asked = [(&events as _, Type::UUID_ARRAY), (&urls as _, Type::TEXT_ARRAY)];
    let [found] = transaction.say([Statement { sql: PENDING, values: &asked }]).await?;
    let mut pending = HashMap::new();
    for row in &found {
        let key: (Uuid, &str) = (rows::get(row, 0)?, rows::get(row, 1)?);
        pending.insert(key, (rows::get::<i64>(row, 2)?, rows::get::<i64>(row, 3)?));
    }
    let (mut log, mut changes) = (Log::default(), Changes::default());
    for (attempt, event) in attempts.iter().zip(&events) {
        let key = (*event, attempt.receiver.as_str());
        let Some((receiver, tries)) = pending.get_mut(&key) else { continue };
        *tries = tries.saturating_add(1);
        log.add(attempt, (*event, *receiver), *tries)?;
        changes.add(attempt.next, (*event, *receiver), *tries)?;
        if !matches!(attempt.next, Next::Retry(_)) {
            pending.remove(&key);
        }
    }
    write(transaction, &log, changes).await
}

async fn write(transaction: Transaction<'_>, log: &Log<'_>, changes: Changes) -> Result<(), Fault> {
    let ((events, receivers), (due, tries)): ((Vec<_>, Vec<_>), (Vec<_>, Vec<_>)) =
        changes.again.into_iter().unzip();
    let again = [
        (&events as _, Type::UUID_ARRAY),
        (&receivers as _, Type::INT8_ARRAY),
        (&due as _, Type::INT8_ARRAY),
        (&tries as _, Type::INT8_ARRAY),
    ];
    let (events, receivers): (Vec<_>, Vec<_>) = changes.ended.into_iter().unzip();
    let end = [(&events as _, Type::UUID_ARRAY), (&receivers as _, Type::INT8_ARRAY)];
    let (receivers, counts): (Vec<_>, Vec<_>) = changes.fewer.into_iter().unzip();
    let fewer = [(&receivers as _, Type::INT8_ARRAY), (&counts as _, Type::INT8_ARRAY)];
    let steps = [
        Statement { sql: AGAIN, values: &again },
        Statement { sql: END, values: &end },
        Statement { sql: NOTE, values: &log.values() },
        Statement { sql: FEWER, values: &fewer },
    ];
    transaction.end(&steps).await.map(drop)
}

/// A delivery, by its event and its receiver's number.
type Key = (Uuid, i64);

/// What becomes of deliveries. Of several tries of one the last counts.
#[derive(Default)]
struct Changes {
    /// When they are due, and how many tries there were.
    again: BTreeMap<Key, (i64, i64)>,
    ended: BTreeSet<Key>,
    /// How many of each receiver have ended.
    fewer: BTreeMap<i64, i64>,
}

impl Changes {
    fn add(&mut self, next: Next, key: Key, tries: i64) -> Result<(), Fault> {
        match next {
            Next::Retry(due) => drop(self.again.insert(key, (rows::ms(due)?, tries))),
            Next::Delivered | Next::GivenUp => {
                self.ended.insert(key);
                *self.fewer.entry(key.1).or_default() += 1;
            }
        }
        Ok(())
    }
}

/// Lines of the delivery log.
#[derive(Default)]
struct Log<'a> {
    events: Vec<Uuid>,
    receivers: Vec<i64>,
    numbers: Vec<i64>,
    at: Vec<i64>,
    statuses: Vec<Option<i64>>,
    errors: Vec<Option<&'a str>>,
    took_ms: Vec<i64>,
    next: Vec<&'static str>,
    next_at: Vec<Option<i64>>,
}

impl<'a> Log<'a> {
    fn add(&mut self, attempt: &'a Attempt, (event, receiver): Key, number: i64) -> Result<(), Fault> {
        let (next, next_at) = match attempt.next {
            Next::Delivered => ("delivered", None),
            Next::Retry(due) => ("retry", Some(rows::ms(due)?)),
            Next::GivenUp => ("given_up", None),
        };
        self.events.push(event);
        self.receivers.push(receiver);
        self.numbers.push(number);
        self.at.push(rows::ms(attempt.at)?);
        self.statuses.push(attempt.status.map(i64::from));
        self.errors.push(attempt.error.as_deref());
        self.took_ms.push(i64::try_from(attempt.took.as_millis()).unwrap_or(i64::MAX));
        self.next.push(next);
        self.next_at.push(next_at);
        Ok(())
    }

    fn values(&self) -> [Value<'_>; 9] {
        [
            (&self.events, Type::UUID_ARRAY),
            (&self.receivers, Type::INT8_ARRAY),
            (&self.numbers, Type::INT8_ARRAY),
            (&self.at, Type::INT8_ARRAY),
            (&self.statuses, Type::INT8_ARRAY),
            (&self.errors, Type::TEXT_ARRAY),
            (&self.took_ms, Type::INT8_ARRAY),
            (&self.next, Type::TEXT_ARRAY),
            (&self.next_at, Type::INT8_ARRAY),
        ]
    }
}
