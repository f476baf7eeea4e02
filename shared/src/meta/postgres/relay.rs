//! Makes deliveries of events. Each relay takes whole batches for itself (`SKIP LOCKED`), so any number of them, in any number of
//! processes, neither wait for each other nor make a delivery twice; and a batch whose transaction commits late is found when it does,
//! since it is looked for as a row and not by its number.

use tokio_postgres::{Row, types::Type};

use super::{
    events,
    fault::Fault,
    rows,
    server::{Mode, Server},
    transaction::{Statement, Transaction},
};
use crate::{
    meta::Receiver,
    model::{EventType, Timestamp},
};

/// Batches that one claim takes at first; each further claim takes twice as many.
const CLAIM: usize = 8;

const TAKE: &str = "SELECT batch, next, events FROM unrelayed WHERE batch > $1 ORDER BY batch
    LIMIT $2 FOR UPDATE SKIP LOCKED";

const DONE: &str = "DELETE FROM unrelayed WHERE batch = ANY($1)";

const ADVANCE: &str = "UPDATE unrelayed SET next = $2 WHERE batch = $1";

const NUMBER: &str = "INSERT INTO receivers (url) SELECT r.url FROM unnest($1::text[]) AS r(url)
    WHERE NOT EXISTS (SELECT 1 FROM receivers k WHERE k.url = r.url) ON CONFLICT (url) DO NOTHING";

/// A delivery for each of the events and each receiver that wants its type; and the receivers' counts, which are locked in the order
/// of numbers, whatever order the update goes by.
const MAKE: &str = "WITH made AS (
        INSERT INTO deliveries (event, receiver, seq, due)
        SELECT e.id, r.id, e.seq, $4 FROM events e
            JOIN unnest($2::text[], $3::text[]) AS wanted(url, type) ON wanted.type = e.type
            JOIN receivers r ON r.url = wanted.url
        WHERE e.seq = ANY($1)
        ON CONFLICT (event, receiver) DO NOTHING RETURNING receiver),
    counted AS (SELECT receiver, count(*) AS count FROM made GROUP BY receiver),
    locked AS (SELECT r.id FROM receivers r WHERE r.id IN (SELECT receiver FROM counted)
        ORDER BY r.id FOR NO KEY UPDATE)
    UPDATE receivers r SET pending = r.pending + c.count
    FROM locked l JOIN counted c ON c.receiver = l.id WHERE r.id = l.id";

/// Makes the deliveries of the next events, at most `limit`, and says how many events there were.
pub(super) async fn relay(
    server: &Server,
    receivers: &[Receiver],
    limit: usize,
    at: Timestamp,
) -> Result<usize, Fault> {
    let mut tries = server.tries(Mode::Write);
    loop {
        let transaction = server.begin_by(Mode::Write, tries.deadline).await?;
        match run(transaction, receivers, limit, at).await {
            Err(fault) if tries.again(&fault).await => {}
            outcome => return outcome,
        }
    }
}

async fn run(
    mut transaction: Transaction<'_>,
    receivers: &[Receiver],
    limit: usize,
    at: Timestamp,
) -> Result<usize, Fault> {
    let taken = take(&mut transaction, receivers, limit).await?;
    let (urls, types) = wanted(receivers);
    let at = rows::ms(at)?;
    let make = [
        (&taken.events as _, Type::INT8_ARRAY),
        (&urls as _, Type::TEXT_ARRAY),
        (&types as _, Type::TEXT_ARRAY),
        (&at as _, Type::INT8),
    ];
    let done = [(&taken.done as _, Type::INT8_ARRAY)];
    let (batch, next) = taken.begun.unwrap_or_default();
    let advance = [(&batch as _, Type::INT8), (&next as _, Type::INT8)];
    let steps = [
        (!urls.is_empty() && !taken.events.is_empty(), Statement { sql: MAKE, values: &make }),
        (!taken.done.is_empty(), Statement { sql: DONE, values: &done }),
        (taken.begun.is_some(), Statement { sql: ADVANCE, values: &advance }),
    ];
    let needed: Vec<_> = steps.into_iter().filter_map(|(needed, step)| needed.then_some(step)).collect();
    transaction.end(&needed).await?;
    Ok(taken.events.len())
}

/// Claims batches until they have `limit` events, or there are no more.
async fn take(
    transaction: &mut Transaction<'_>,
    receivers: &[Receiver],
    limit: usize,
) -> Result<Taken, Fault> {
    let mut urls: Vec<_> = receivers.iter().map(|receiver| receiver.url.as_str()).collect();
    urls.sort_unstable();
    let number = [(&urls as _, Type::TEXT_ARRAY)];
    transaction.say([Statement { sql: NUMBER, values: &number }]).await?;
    let (mut taken, mut behind, mut claim) = (Taken::default(), 0_i64, CLAIM.min(limit));
    while taken.events.len() < limit {
        let page = [(&behind as _, Type::INT8), (&rows::at_most(claim) as _, Type::INT8)];
        let [found] = transaction.say([Statement { sql: TAKE, values: &page }]).await?;
        for row in &found {
            behind = taken.add(row, limit)?;
        }
        if found.len() < claim {
            break;
        }
        claim *= 2;
    }
    Ok(taken)
}

/// The types that each receiver wants, in two columns.
fn wanted(receivers: &[Receiver]) -> (Vec<&str>, Vec<&'static str>) {
    let types = |receiver: &Receiver| match receiver.events.as_slice() {
        [] => EventType::ALL.to_vec(),
        some => some.to_vec(),
    };
    receivers
        .iter()
        .flat_map(|receiver| types(receiver).into_iter().map(|kind| (receiver.url.as_str(), kind.as_str())))
        .unzip()
}

/// What a relay has claimed.
#[derive(Default)]
struct Taken {
    /// By their `seq`.
    events: Vec<i64>,
    /// Batches that have no further event.
    done: Vec<i64>,
    /// The batch that has, and the place of the next one.
    begun: Option<(i64, i64)>,
}

impl Taken {
    /// Adds as much of a batch as there is room for; says which one it was.
    fn add(&mut self, row: &Row, limit: usize) -> Result<i64, Fault> {
        let (batch, next, events): (i64, i64, i64) =
            (rows::get(row, 0)?, rows::get(row, 1)?, rows::get(row, 2)?);
        let room = rows::at_most(limit - self.events.len());
        let to = events.min(next.saturating_add(room));
        self.events.extend((next..to).map(|place| events::seq(batch, place)));
        if to == events {
            self.done.push(batch);
        } else if to > next {
            self.begun = Some((batch, to));
        }
        Ok(batch)
    }
}
