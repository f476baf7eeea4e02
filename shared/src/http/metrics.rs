//! What every public listener counts.

use std::time::Duration;

use http::StatusCode;
use prometheus::{HistogramVec, IntCounter, IntCounterVec};

use super::Code;
use crate::telemetry::metrics::Registry;

/// What is answered beside problems.
const SUCCESSES: [StatusCode; 7] = [
    StatusCode::OK,
    StatusCode::CREATED,
    StatusCode::ACCEPTED,
    StatusCode::NO_CONTENT,
    StatusCode::PARTIAL_CONTENT,
    StatusCode::MULTI_STATUS,
    StatusCode::NOT_MODIFIED,
];

/// Requests by route; the routes are a fixed list, so there is no series for a path.
#[derive(Clone, Debug)]
pub struct Metrics {
    requests: IntCounterVec,
    errors: IntCounterVec,
    seconds: HistogramVec,
    turned_away: IntCounter,
}

impl Metrics {
    /// Registers them.
    pub fn new(registry: &Registry, routes: &[&str]) -> Self {
        let metrics = Self {
            requests: registry.counters(
                "headworks_http_requests_total",
                "Requests by route and status code.",
                &["route", "code"],
            ),
            errors: registry.counters(
                "headworks_http_errors_total",
                "Answers of 5xx by route, but for refusals: what clients should not see.",
                &["route"],
            ),
            seconds: registry.seconds_by(
                "headworks_http_request_seconds",
                "Time from a request's head to the head of its answer.",
                &["route"],
            ),
            turned_away: registry.counter(
                "headworks_connections_turned_away_total",
                "Connections that were not listened to, because their address had as many as it may, and streams of HTTP/2.",
            ),
        };
        for route in routes {
            for status in SUCCESSES.into_iter().chain(Code::ALL.iter().map(|code| code.status())) {
                metrics.requests.with_label_values(&[*route, status.as_str()]);
            }
            metrics.errors.with_label_values(&[*route]);
            metrics.seconds.with_label_values(&[*route]);
        }
        metrics
    }

    /// Counts a connection that was not listened to.
    pub fn turned_away(&self) {
        self.turned_away.inc();
    }

    /// Counts an answer; a problem by its code.
    pub fn answered(&self, route: &str, status: StatusCode, problem: Option<Code>, took: Duration) {
        self.requests.with_label_values(&[route, status.as_str()]).inc();
        if status.is_server_error() && problem != Some(Code::Refused) {
            self.errors.with_label_values(&[route]).inc();
        }
        self.seconds.with_label_values(&[route]).observe(took.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_no_error_and_every_series_is_there_from_the_start() {
        let registry = Registry::default();
        let metrics = Metrics::new(&registry, &["put_file"]);
        let begun = registry.render();
        let series = |text: &str| text.lines().filter(|line| !line.starts_with('#')).count();
        for (status, problem) in [
            (StatusCode::CREATED, None),
            (StatusCode::NOT_FOUND, Some(Code::NotFound)),
            (StatusCode::SERVICE_UNAVAILABLE, Some(Code::Refused)),
            (StatusCode::SERVICE_UNAVAILABLE, Some(Code::Unavailable)),
            (StatusCode::INSUFFICIENT_STORAGE, Some(Code::DiskFull)),
        ] {
            metrics.answered("put_file", status, problem, Duration::ZERO);
        }
        let text = registry.render();
        assert!(text.contains("headworks_http_errors_total{route=\"put_file\"} 2\n"), "{text}");
        assert!(
            text.contains("headworks_http_requests_total{code=\"503\",route=\"put_file\"} 2\n"),
            "{text}"
        );
        assert_eq!(series(&begun), series(&text));
    }
}
