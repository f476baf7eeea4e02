//! Where the bytes come from: hyper's body, or one part of a form.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use headworks_shared::{
    http::{Broken, RequestBody},
    storage::BodyError,
};
use http::HeaderMap;
use http_body::Body as _;

/// A piece of a body; its data may have been lent.
pub(crate) enum Frame<T = Bytes> {
    Data(T),
    Trailers(HeaderMap),
}

impl<T> Frame<T> {
    fn map<U>(self, change: impl FnOnce(T) -> U) -> Frame<U> {
        match self {
            Self::Data(data) => Frame::Data(change(data)),
            Self::Trailers(fields) => Frame::Trailers(fields),
        }
    }
}

/// Bytes as they come.
pub(crate) trait Frames: Send + Unpin {
    /// The next piece, or `None` at the end; `received` goes into the error.
    fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
        received: u64,
    ) -> Poll<Result<Option<Frame>, BodyError>>;

    /// The same, lent to `take` while it runs.
    fn poll_lend(
        &mut self,
        context: &mut Context<'_>,
        received: u64,
        take: &mut dyn FnMut(&[u8]),
    ) -> Poll<Result<Option<Frame<()>>, BodyError>> {
        self.poll_frame(context, received).map_ok(|frame| frame.map(|frame| frame.map(|data| take(&data))))
    }

    /// From now on no more than `most` bytes are wanted at once, if that can be helped.
    fn want(&mut self, most: usize) {
        let _ = most;
    }

    /// The most bytes that may still come, where that is known.
    fn at_most(&self) -> Option<u64> {
        None
    }
}

/// The body of a request.
pub(crate) struct RequestFrames(pub(crate) RequestBody);

impl Frames for RequestFrames {
    fn want(&mut self, most: usize) {
        self.0.want(most);
    }

    fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
        received: u64,
    ) -> Poll<Result<Option<Frame>, BodyError>> {
        Pin::new(&mut self.0).poll_frame(context).map(|frame| match frame {
            None => Ok(None),
            Some(Ok(frame)) => Ok(match frame.into_data() {
                Ok(data) => Some(Frame::Data(data)),
                Err(other) => Some(Frame::Trailers(other.into_trailers().unwrap_or_default())),
            }),
            Some(Err(broken)) => Err(body_error(broken, received)),
        })
    }

    fn poll_lend(
        &mut self,
        context: &mut Context<'_>,
        received: u64,
        take: &mut dyn FnMut(&[u8]),
    ) -> Poll<Result<Option<Frame<()>>, BodyError>> {
        self.0.poll_lend(context, take).map(|lent| match lent {
            None => Ok(None),
            Some(Ok(trailers)) => Ok(Some(trailers.map_or(Frame::Data(()), Frame::Trailers))),
            Some(Err(broken)) => Err(body_error(broken, received)),
        })
    }
}

fn body_error(broken: Broken, received: u64) -> BodyError {
    match broken {
        Broken::Malformed => BodyError::Malformed("a chunk of the body cannot be read"),
        Broken::Off => BodyError::Client { received },
    }
}
