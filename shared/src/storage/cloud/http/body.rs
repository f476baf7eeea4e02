//! Bodies: outgoing ones that are whole or a client's, and incoming ones that may not stall.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use object_store::client::{HttpError, HttpErrorKind, HttpRequestBody};
use tokio::{
    sync::oneshot,
    time::{Sleep, sleep},
};

use super::{
    super::pipe::{BrokenOff, Pipe},
    Live, NoAnswer,
    watchdog::Watchdog,
};

/// Who says nothing to `Expect: 100-continue` for so long is sent the body: some do not know it.
const SILENCE: Duration = Duration::from_secs(1);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of a request.
pub(crate) enum Outgoing {
    /// As `object_store` made it.
    Whole {
        /// The bytes.
        body: HttpRequestBody,
        /// Dropped with it, when all of it is written or none will be.
        _sent: oneshot::Sender<()>,
    },
    /// A client's frames, in place of it.
    Piped(Piped),
}

impl Outgoing {
    /// With what is dropped as soon as it is sent.
    pub(super) fn whole(body: HttpRequestBody) -> (Self, oneshot::Receiver<()>) {
        let (_sent, sent) = oneshot::channel();
        (Self::Whole { body, _sent }, sent)
    }

    pub(super) fn piped(pipe: Arc<Pipe>, turn: u32) -> Self {
        let left = pipe.length();
        Self::Piped(Piped { pipe, turn, left, silence: None, asked: false })
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Whole { body, .. } => Pin::new(body).poll_frame(context).map_err(Into::into),
            Self::Piped(body) => body.poll_frame(context).map_err(Into::into),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole { body, .. } => body.is_end_stream(),
            Self::Piped(body) => body.left == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole { body, .. } => body.size_hint(),
            Self::Piped(body) => SizeHint::with_exact(body.left),
        }
    }
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing").field("left", &self.size_hint().exact()).finish_non_exhaustive()
    }
}

/// A client's frames for one request.
pub(crate) struct Piped {
    pipe: Arc<Pipe>,
    turn: u32,
    left: u64,
    /// Runs while the store has not said whether it wants the body.
    silence: Option<Pin<Box<Sleep>>>,
    asked: bool,
}

impl Piped {
    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        if !std::mem::replace(&mut self.asked, true) {
            // hyper asks for the body when it has written the head.
            self.silence = Some(Box::pin(sleep(SILENCE)));
        }
        if let Some(silence) = &mut self.silence
            && silence.as_mut().poll(context).is_ready()
        {
            self.silence = None;
            self.pipe.open(self.turn);
        }
        let frame = ready!(self.pipe.poll_take(self.turn, context))?;
        self.silence = None;
        self.left = self.left.checked_sub(frame.len() as u64).ok_or(BrokenOff)?;
        Poll::Ready(Some(Ok(Frame::data(frame))))
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
