//! Where the bytes come from: hyper's body, or one part of a form.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use headworks_shared::storage::BodyError;
use http::HeaderMap;
use http_body::Body as _;
use hyper::body::Incoming;

/// A piece of a body.
pub(crate) enum Frame {
    Data(Bytes),
    Trailers(HeaderMap),
}

/// Bytes as they come.
pub(crate) trait Frames: Send + Unpin {
    /// The next piece, or `None` at the end; `received` goes into the error.
    fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
        received: u64,
    ) -> Poll<Result<Option<Frame>, BodyError>>;

    /// The most bytes that may still come, where that is known.
    fn at_most(&self) -> Option<u64> {
        None
    }
}

/// The body of a request.
pub(crate) struct IncomingFrames(pub(crate) Incoming);

impl Frames for IncomingFrames {
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
            Some(Err(error)) if error.is_parse() => {
                Err(BodyError::Malformed("a chunk of the body cannot be read"))
            }
            Some(Err(_)) => Err(BodyError::Client { received }),
        })
    }
}
