//! From Redis' words to the seam's, and back.

use std::{sync::Arc, time::Duration};

use super::super::{Claimed, Depth, Ticket};
use crate::model::{Job, JobPayload, Priority};

/// What the script of a claim answers.
pub(super) type Answer = (i64, Vec<Row>);

/// The priority's number, the entry, the job's id, its tries, its deliveries, its payload.
pub(super) type Row = (usize, String, String, u32, u32, Vec<u8>);

/// What `scripts/depth.lua` answers.
pub(super) type Counts = Vec<i64>;

/// What a claim found at one moment.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) claimed: Vec<Claimed>,
    /// Claimed, but not to be understood here: written by a newer Headworks, or by a stranger.
    pub(super) strange: Vec<(Strange, [String; 4])>,
    /// In how long time will bring the next job.
    pub(super) next: Option<Duration>,
}

impl Found {
    pub(super) fn read((next, rows): Answer, claim: u64) -> Self {
        let mut found = Self {
            claimed: Vec::with_capacity(rows.len()),
            strange: Vec::new(),
            next: u64::try_from(next).ok().map(Duration::from_micros),
        };
        for row in rows {
            match read(&row, claim) {
                Ok(claimed) => found.claimed.push(claimed),
                Err(error) => {
                    let (line, entry, id, ..) = row;
                    found.strange.push((error, [line.to_string(), id, entry, claim.to_string()]));
                }
            }
        }
        found
    }
}

/// An entry is not a job of this Headworks.
#[derive(Debug, thiserror::Error)]
pub(super) enum Strange {
    #[error("parse the payload")]
    Payload(#[from] serde_json::Error),
    #[error("no such id, entry or priority")]
    Value,
}

fn read(row: &Row, claim: u64) -> Result<Claimed, Strange> {
    let (line, entry, id, tries, deliveries, payload) = row;
    let priority = line.checked_sub(1).and_then(|at| Priority::ALL.get(at)).ok_or(Strange::Value)?;
    let id = id.parse().map_err(|_| Strange::Value)?;
    let payload: JobPayload = serde_json::from_slice(payload)?;
    let ticket = Ticket { priority: *priority, job: id, entry: number(entry).ok_or(Strange::Value)?, claim };
    let job = Job { id, priority: *priority, tries: *tries, payload };
    Ok(Claimed { job: Arc::new(job), ticket, deliveries: *deliveries })
}

/// An entry's two numbers in one.
fn number(entry: &str) -> Option<u128> {
    let (ms, seq) = entry.split_once('-')?;
    Some((u128::from(ms.parse::<u64>().ok()?) << 64) | u128::from(seq.parse::<u64>().ok()?))
}

/// A ticket as the scripts take it.
pub(super) fn words(ticket: &Ticket) -> [String; 4] {
    let (ms, seq) = (ticket.entry >> 64, ticket.entry & u128::from(u64::MAX));
    [
        line(ticket.priority).to_string(),
        ticket.job.to_string(),
        format!("{ms}-{seq}"),
        ticket.claim.to_string(),
    ]
}

/// A priority's number, as the scripts count.
pub(super) fn line(priority: Priority) -> usize {
    priority.index() + 1
}

/// The depth, from what the script counted.
pub(super) fn depth(counts: &Counts) -> Depth {
    let of = |at: usize| counts.get(at).and_then(|count| usize::try_from(*count).ok()).unwrap_or(0);
    let three = |from: usize| [of(from), of(from + 1), of(from + 2)];
    Depth {
        ready: three(0),
        in_flight: three(3),
        delayed: three(6),
        credited: three(9),
        oldest: counts.get(12).and_then(|age| u64::try_from(*age).ok()).map(Duration::from_micros),
        done: counts.get(13).and_then(|done| u64::try_from(*done).ok()).unwrap_or(0),
    }
}

/// In µs, as the scripts count time; what is past all reckoning is a year.
pub(super) fn micros(time: Duration) -> u64 {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
    u64::try_from(time.min(YEAR).as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::conformance::job;

    fn row(line: usize, payload: &[u8]) -> Row {
        let id = job(3, Priority::Low).id.to_string();
        (line, "1700000000000-12".to_owned(), id, 2, 1, payload.to_vec())
    }

    #[test]
    fn a_ticket_goes_back_as_it_came() {
        let payload = serde_json::to_vec(&job(3, Priority::Low).payload).unwrap();
        let found = Found::read((-1, vec![row(3, &payload)]), 77);
        let [claimed] = found.claimed.as_slice() else { panic!("{found:?}") };
        assert_eq!((claimed.job.tries, claimed.deliveries, claimed.ticket.priority), (2, 1, Priority::Low));
        let id = claimed.job.id.to_string();
        assert_eq!(words(&claimed.ticket), ["3", &id, "1700000000000-12", "77"]);
        assert_eq!(found.next, None);
    }

    #[test]
    fn what_is_strange_is_told_apart() {
        for (line, payload) in [(1, &b"{}"[..]), (4, b"{}"), (0, b""), (2, br#"{"kind":"new.v9"}"#)] {
            let found = Found::read((5, vec![row(line, payload)]), 7);
            assert_eq!((found.claimed.len(), found.strange.len()), (0, 1));
            assert_eq!(found.strange[0].1[0], line.to_string());
        }
    }
}
