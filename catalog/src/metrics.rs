//! What the catalog counts.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_core::Stream;
use headworks_shared::{
    model::UploadId,
    report::Report,
    storage::{Chunks, Error},
    telemetry::metrics::Registry,
};
use prometheus::IntCounter;
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
    pub(crate) const fn as_str(self) -> &'static str {
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

#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    sent_bytes: IntCounter,
}

impl Metrics {
    pub(crate) fn new(registry: &Registry) -> Self {
        Self {
            sent_bytes: registry
                .counter("headworks_catalog_sent_bytes_total", "Bytes of objects read for clients."),
        }
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
