//! What the catalog counts.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures_core::Stream;
use headworks_shared::{
    http::{Problem, Reply},
    model::UploadId,
    report::Report,
    storage::{Chunks, Error},
    telemetry::metrics::Registry,
};
use http::StatusCode;
use prometheus::{HistogramVec, IntCounter, IntCounterVec};
use tracing::error;

/// What a request was about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Label {
    List,
    Object,
    Versions,
    Delete,
    Content,
    File,
    /// No such address, or not for this method.
    Other,
}

impl Label {
    const ALL: [Self; 7] =
        [Self::List, Self::Object, Self::Versions, Self::Delete, Self::Content, Self::File, Self::Other];

    const fn as_str(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Object => "object",
            Self::Versions => "versions",
            Self::Delete => "delete",
            Self::Content => "content",
            Self::File => "file",
            Self::Other => "other",
        }
    }
}

const OUTCOMES: [&str; 4] = ["ok", "not_modified", "client_error", "server_error"];

const fn outcome(status: StatusCode) -> &'static str {
    match status.as_u16() {
        304 => "not_modified",
        400..=499 => "client_error",
        500.. => "server_error",
        _ => "ok",
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    requests: IntCounterVec,
    seconds: HistogramVec,
    sent_bytes: IntCounter,
}

impl Metrics {
    pub(crate) fn new(registry: &Registry) -> Self {
        let metrics = Self {
            requests: registry.counters(
                "headworks_catalog_requests_total",
                "Requests that the catalog answered, by what they were about and how it went.",
                &["route", "outcome"],
            ),
            seconds: registry.seconds_by(
                "headworks_catalog_request_seconds",
                "Time from a request's head to its answer's head.",
                &["route"],
            ),
            sent_bytes: registry
                .counter("headworks_catalog_sent_bytes_total", "Bytes of objects read for clients."),
        };
        for label in Label::ALL {
            metrics.seconds.with_label_values(&[label.as_str()]);
            for outcome in OUTCOMES {
                metrics.requests.with_label_values(&[label.as_str(), outcome]);
            }
        }
        metrics
    }

    /// Counts one request and its answer.
    pub(crate) fn answered(&self, label: Label, answer: &Result<Reply, Problem>, took: Duration) {
        let status = match answer {
            Ok(reply) => reply.status(),
            Err(problem) => problem.code().status(),
        };
        self.requests.with_label_values(&[label.as_str(), outcome(status)]).inc();
        self.seconds.with_label_values(&[label.as_str()]).observe(took.as_secs_f64());
    }

    /// The same pieces, counted as they pass. An answer whose head is sent cannot say any more that its body broke off, so that is
    /// logged here.
    pub(crate) fn counted(&self, id: UploadId, chunks: Chunks) -> Chunks {
        Box::pin(Counted { id, chunks, sent_bytes: self.sent_bytes.clone() })
    }
}

struct Counted {
    id: UploadId,
    chunks: Chunks,
    sent_bytes: IntCounter,
}

impl Stream for Counted {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = ready!(self.chunks.as_mut().poll_next(context));
        match &next {
            Some(Ok(chunk)) => self.sent_bytes.inc_by(chunk.len() as u64),
            Some(Err(error)) => {
                error!(upload.id = %self.id, error = %Report(error), "download broken off: the store failed");
            }
            None => {}
        }
        Poll::Ready(next)
    }
}
