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

/// What a subject said.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// When to come back.
    pub retry_after: Option<Duration>,
}

impl Answer {
    /// A "not now" that says when to come back.
    fn is_honest_refusal(&self) -> bool {
        self.status == StatusCode::SERVICE_UNAVAILABLE && self.retry_after.is_some()
    }
}

/// A request that was acknowledged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Remembered {
    /// Its number.
    pub turn: u64,
    /// When, in microseconds since 1970.
    pub at_us: u64,
    /// How long that took.
    pub took: Duration,
}

/// The outcomes of many requests.
#[derive(Debug)]
pub(crate) struct Tally {
    statuses: BTreeMap<u16, u64>,
    failures: BTreeMap<Failure, u64>,
    latency_us: Histogram<u64>,
    refusal_us: Histogram<u64>,
    acknowledged: u64,
    remembered: Vec<Remembered>,
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
            refusal_us: Histogram::new_with_bounds(1, LONGEST_US, FIGURES)?,
            acknowledged: 0,
            remembered: Vec::new(),
        })
    }

    /// Counts an answer; refusals have a latency of their own, since they are quick and would flatter the other.
    pub(crate) fn answered(&mut self, answer: &Answer, took: Duration) {
        *self.statuses.entry(answer.status.as_u16()).or_default() += 1;
        let took_us = u64::try_from(took.as_micros()).unwrap_or(LONGEST_US);
        if good(answer.status) {
            self.acknowledged += 1;
            self.latency_us.saturating_record(took_us);
        } else if answer.is_honest_refusal() {
            self.refusal_us.saturating_record(took_us);
        }
    }

    /// Remembers the moment of a good answer to this request.
    pub(crate) fn remember(&mut self, status: StatusCode, turn: u64, took: Duration) {
        if good(status) {
            let now = OffsetDateTime::now_utc().unix_timestamp_nanos() / 1000;
            self.remembered.push(Remembered { turn, at_us: u64::try_from(now).unwrap_or_default(), took });
        }
    }

    /// Counts a request without an answer.
    pub(crate) fn failed(&mut self, failure: Failure) {
        *self.failures.entry(failure).or_default() += 1;
    }

    /// How many requests had a good answer.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// The requests that were acknowledged, if that was to be remembered.
    pub(crate) fn remembered(&self) -> &[Remembered] {
        &self.remembered
    }

    /// The latency, in milliseconds, that `quantile` (0.0 to 1.0) of the acknowledged requests did not exceed.
    pub(crate) fn latency_ms(&self, quantile: f64) -> f64 {
        self.latency_us.value_at_quantile(quantile) as f64 / 1_000.0
    }

    /// How many requests were refused with a 503 that says when to come back.
    pub(crate) fn honest_refusals(&self) -> u64 {
        self.refusal_us.len()
    }

    /// The latency, in milliseconds, that `quantile` (0.0 to 1.0) of these refusals did not exceed.
    pub(crate) fn refusal_ms(&self, quantile: f64) -> f64 {
        self.refusal_us.value_at_quantile(quantile) as f64 / 1_000.0
    }

    /// How many requests were neither acknowledged nor refused so, by status or kind of failure.
    pub(crate) fn neither(&self) -> BTreeMap<String, u64> {
        let mut all = self.errors();
        let unavailable = StatusCode::SERVICE_UNAVAILABLE.as_str();
        if let Some(count) = all.remove(unavailable).map(|count| count - self.honest_refusals())
            && count > 0
        {
            all.insert(format!("{unavailable} without Retry-After"), count);
        }
        all
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

    fn said(status: StatusCode, retry_after_s: Option<u64>) -> Answer {
        Answer { status, retry_after: retry_after_s.map(Duration::from_secs) }
    }

    #[test]
    fn a_refusal_and_a_deferral_are_errors_and_leave_the_latency_alone() {
        let mut tally = Tally::new().unwrap();
        tally.answered(&said(StatusCode::CREATED, None), Duration::from_millis(8));
        tally.answered(&said(StatusCode::SERVICE_UNAVAILABLE, Some(1)), Duration::from_micros(20));
        tally.answered(&said(StatusCode::ACCEPTED, None), Duration::from_micros(20));
        tally.failed(Failure::Broken);
        assert_eq!(tally.acknowledged(), 1);
        assert!((tally.latency_ms(0.0) - 8.0).abs() < 0.1);
        let errors = [("202".into(), 1), ("503".into(), 1), ("connection broken".into(), 1)];
        assert_eq!(tally.errors(), BTreeMap::from(errors));
    }

    #[test]
    fn a_refusal_is_honest_when_it_says_when_to_come_back() {
        let mut tally = Tally::new().unwrap();
        tally.answered(&said(StatusCode::SERVICE_UNAVAILABLE, Some(1)), Duration::from_millis(3));
        tally.answered(&said(StatusCode::SERVICE_UNAVAILABLE, None), Duration::from_millis(9));
        tally.answered(&said(StatusCode::INTERNAL_SERVER_ERROR, Some(1)), Duration::from_millis(9));
        assert_eq!(tally.honest_refusals(), 1);
        let neither = [("500".into(), 1), ("503 without Retry-After".into(), 1)];
        assert_eq!(tally.neither(), BTreeMap::from(neither));
        assert!((tally.refusal_ms(1.0) - 3.0).abs() < 0.1);
    }
}
