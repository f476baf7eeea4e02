//! What came back: how many answers of which status, how many failures of which kind, how long the good ones took.

use std::{collections::BTreeMap, fmt, time::Duration};

use hdrhistogram::Histogram;
use hyper::StatusCode;
use time::OffsetDateTime;

/// The longest latency that is told apart, in microseconds (10 minutes); a longer one counts as this.
const LONGEST_US: u64 = 600_000_000;
/// Latencies are kept to three figures, so to 0.1 %.
const FIGURES: u8 = 3;

/// Why a request has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Failure {
    /// The subject did not take the connection.
    Connect,
    /// The connection broke before the answer was read to its end.
    Broken,
    /// The scenario's deadline passed.
    Deadline,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "not connected",
            Self::Broken => "connection broken",
            Self::Deadline => "deadline passed",
        })
    }
}

/// The outcomes of many requests.
#[derive(Debug)]
pub(crate) struct Tally {
    statuses: BTreeMap<u16, u64>,
    failures: BTreeMap<Failure, u64>,
    latency_us: Histogram<u64>,
    acknowledged: u64,
    remembered: Vec<(u64, u64)>,
}

impl Tally {
    /// Nothing yet.
    ///
    /// # Errors
    /// Never for the constants above; the histogram checks them when it is made.
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self {
            statuses: BTreeMap::new(),
            failures: BTreeMap::new(),
            latency_us: Histogram::new_with_bounds(1, LONGEST_US, FIGURES)?,
            acknowledged: 0,
            remembered: Vec::new(),
        })
    }

    /// Counts an answer; its latency too if it is good, since a refusal is quick and would flatter the figures.
    pub(crate) fn answered(&mut self, status: StatusCode, took: Duration) {
        *self.statuses.entry(status.as_u16()).or_default() += 1;
        if good(status) {
            self.acknowledged += 1;
            self.latency_us.saturating_record(u64::try_from(took.as_micros()).unwrap_or(LONGEST_US));
        }
    }

    /// Remembers the moment of a good answer to this request.
    pub(crate) fn remember(&mut self, status: StatusCode, turn: u64) {
        if good(status) {
            let now = OffsetDateTime::now_utc().unix_timestamp_nanos() / 1000;
            self.remembered.push((turn, u64::try_from(now).unwrap_or_default()));
        }
    }

    /// Counts a request without an answer.
    pub(crate) fn failed(&mut self, failure: Failure) {
        *self.failures.entry(failure).or_default() += 1;
    }

    /// Takes another's counts in.
    ///
    /// # Errors
    /// Never for two tallies of this file: their histograms have the same bounds.
    pub(crate) fn add(&mut self, other: &Self) -> anyhow::Result<()> {
        for (status, count) in &other.statuses {
            *self.statuses.entry(*status).or_default() += count;
        }
        for (failure, count) in &other.failures {
            *self.failures.entry(*failure).or_default() += count;
        }
        self.acknowledged += other.acknowledged;
        self.remembered.extend_from_slice(&other.remembered);
        self.latency_us.add(&other.latency_us)?;
        Ok(())
    }

    /// How many requests had a good answer.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// When each request was acknowledged, in microseconds since 1970, by its number; if that was to be remembered.
    pub(crate) fn remembered(&self) -> &[(u64, u64)] {
        &self.remembered
    }

    /// The latency, in milliseconds, that `quantile` (0.0 to 1.0) of the acknowledged requests did not exceed.
    pub(crate) fn latency_ms(&self, quantile: f64) -> f64 {
        self.latency_us.value_at_quantile(quantile) as f64 / 1_000.0
    }

    /// How many requests were not acknowledged, by status or kind of failure.
    pub(crate) fn errors(&self) -> BTreeMap<String, u64> {
        let refused =
            self.statuses.iter().filter(|(status, _)| !StatusCode::from_u16(**status).is_ok_and(good));
        let refused = refused.map(|(status, count)| (status.to_string(), *count));
        let failed = self.failures.iter().map(|(failure, count)| (failure.to_string(), *count));
        refused.chain(failed).collect()
    }
}

/// A 2xx, but not 202: with that Headworks says that it has kept the bytes and could not queue the job, which is less work.
fn good(status: StatusCode) -> bool {
    status.is_success() && status != StatusCode::ACCEPTED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_and_a_deferral_are_errors_and_leave_the_latency_alone() {
        let mut tally = Tally::new().unwrap();
        tally.answered(StatusCode::CREATED, Duration::from_millis(8));
        tally.answered(StatusCode::SERVICE_UNAVAILABLE, Duration::from_micros(20));
        tally.answered(StatusCode::ACCEPTED, Duration::from_micros(20));
        tally.failed(Failure::Broken);
        assert_eq!(tally.acknowledged(), 1);
        assert!((tally.latency_ms(0.0) - 8.0).abs() < 0.1);
        let errors = [("202".into(), 1), ("503".into(), 1), ("connection broken".into(), 1)];
        assert_eq!(tally.errors(), BTreeMap::from(errors));
    }

    #[test]
    fn two_tallies_add_up() {
        let mut one = Tally::new().unwrap();
        let mut other = Tally::new().unwrap();
        one.answered(StatusCode::CREATED, Duration::from_millis(1));
        other.answered(StatusCode::CREATED, Duration::from_millis(9));
        other.failed(Failure::Deadline);
        one.add(&other).unwrap();
        assert_eq!(one.acknowledged(), 2);
        assert!((one.latency_ms(1.0) - 9.0).abs() < 0.1);
        assert_eq!(one.errors(), BTreeMap::from([("deadline passed".into(), 1)]));
    }
}
