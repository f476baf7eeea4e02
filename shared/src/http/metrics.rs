//! What every public listener counts.

use std::time::Duration;

use http::StatusCode;
use prometheus::{HistogramVec, IntCounter, IntCounterVec};

use crate::telemetry::metrics::Registry;

/// Requests by route; the routes are a fixed list, so there is no series for a path.
#[derive(Clone, Debug)]
pub struct Metrics {
    requests: IntCounterVec,
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
            metrics.requests.with_label_values(&[*route, "200"]);
            metrics.seconds.with_label_values(&[*route]);
        }
        metrics
    }

    /// Counts a connection that was not listened to.
    pub fn turned_away(&self) {
        self.turned_away.inc();
    }

    /// Counts an answer.
    pub fn answered(&self, route: &str, status: StatusCode, took: Duration) {
        self.requests.with_label_values(&[route, status.as_str()]).inc();
        self.seconds.with_label_values(&[route]).observe(took.as_secs_f64());
    }
}
