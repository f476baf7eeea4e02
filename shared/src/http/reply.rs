//! Answers: a body that is there already, or one that comes piece by piece out of a store.

use std::{
    convert::Infallible,
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body::{Frame, SizeHint};
use serde::Serialize;

use crate::{
    model::json,
    storage::{Chunks, Error as StorageError},
};

/// An answer on its way to a client.
pub type Reply = Response<Body>;

/// The body of an answer.
pub enum Body {
    /// All of it.
    Full(Option<Bytes>),
    /// Piece by piece, `left` bytes to come.
    Stream {
        /// The pieces.
        chunks: Chunks,
        /// Bytes still to come.
        left: u64,
    },
}

impl Body {
    /// No body.
    pub const fn empty() -> Self {
        Self::Full(None)
    }

    /// A body that is there already.
    pub fn full(content: impl Into<Bytes>) -> Self {
        Self::Full(Some(content.into()).filter(|content| !content.is_empty()))
    }

    /// All of it, where it is there already.
    pub fn into_bytes(self) -> Option<Bytes> {
        match self {
            Self::Full(content) => content,
            Self::Stream { .. } => None,
        }
    }

    /// A body of `length` bytes that comes piece by piece.
    pub fn stream(chunks: Chunks, length: u64) -> Self {
        Self::Stream { chunks, left: length }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = StorageError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StorageError>>> {
        match self.get_mut() {
            Self::Full(content) => Poll::Ready(content.take().map(|content| Ok(Frame::data(content)))),
            Self::Stream { chunks, left } => {
                let next = ready!(chunks.as_mut().poll_next(context));
                Poll::Ready(next.map(|chunk| {
                    let chunk = chunk?;
                    *left = left.saturating_sub(chunk.len() as u64);
                    Ok(Frame::data(chunk))
                }))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(content) => content.is_none(),
            Self::Stream { left, .. } => *left == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match self {
            Self::Full(content) => content.as_ref().map_or(0, |content| content.len() as u64),
            Self::Stream { left, .. } => *left,
        })
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = http_body::Body::size_hint(self).exact().unwrap_or_default();
        write!(f, "Body({length} bytes)")
    }
}

impl From<Infallible> for Body {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// An answer in JSON.
pub fn json(status: StatusCode, value: &impl Serialize) -> Reply {
    // Serializing the types of this workspace cannot fail: they have no maps with keys that are not text.
    let body = json::to_vec(value).unwrap_or_default();
    let mut reply = Response::new(Body::full(body));
    *reply.status_mut() = status;
    reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply
}
