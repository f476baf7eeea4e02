//! Bodies: outgoing ones that say when they are sent, and incoming ones that may not stall.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use object_store::client::{HttpError, HttpErrorKind, HttpRequestBody};
use tokio::sync::oneshot;

use super::{Live, NoAnswer, watchdog::Watchdog};

/// The body of a request, as `object_store` made it.
pub(crate) struct Outgoing {
    body: HttpRequestBody,
    /// Dropped with it, when all of it is written or none will be.
    _sent: oneshot::Sender<()>,
}

impl Outgoing {
    /// With what is dropped as soon as it is sent.
    pub(super) fn new(body: HttpRequestBody) -> (Self, oneshot::Receiver<()>) {
        let (_sent, sent) = oneshot::channel();
        (Self { body, _sent }, sent)
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing").field("left", &self.size_hint().exact()).finish_non_exhaustive()
    }
}

/// The body of an answer, which must bring its next bytes within a time, once it was asked for them.
pub(super) struct Timed {
    body: Incoming,
    silent: Watchdog,
    _live: Live,
}

impl Timed {
    pub(super) fn new(body: Incoming, stall: Duration, live: Live) -> Self {
        Self { body, silent: Watchdog::new(stall), _live: live }
    }
}

impl Body for Timed {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let timed = self.get_mut();
        if let Poll::Ready(frame) = Pin::new(&mut timed.body).poll_frame(context) {
            timed.silent.rest();
            let failed = |error| HttpError::new(HttpErrorKind::Interrupted, error);
            return Poll::Ready(frame.map(|frame| frame.map_err(failed)));
        }
        ready!(timed.silent.poll_late(context));
        Poll::Ready(Some(Err(HttpError::new(HttpErrorKind::Timeout, NoAnswer(timed.silent.limit())))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
