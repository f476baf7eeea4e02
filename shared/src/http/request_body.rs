//! The body of a request: hyper's, or read beside it.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, header::CONTENT_LENGTH};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::wire::Wire;

/// The body of a request, as it comes.
#[derive(Debug)]
pub struct RequestBody(Way);

#[derive(Debug)]
enum Way {
    Hyper(Incoming),
    /// See [`Wire`].
    Beside(Wire),
}

/// A body did not come to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// A chunk cannot be read.
    #[error("a chunk of the body cannot be read")]
    Malformed,
    /// The client went away.
    #[error("the client broke off")]
    Off,
}

impl From<Incoming> for RequestBody {
    fn from(body: Incoming) -> Self {
        Self(Way::Hyper(body))
    }
}

impl RequestBody {
    /// From now on no more than `most` bytes are wanted at once; what hyper reads comes as it was read.
    pub fn want(&self, most: usize) {
        if let Way::Beside(wire) = &self.0 {
            wire.want(most);
        }
    }

    /// Lends the next bytes to `take` while it runs; or trailers come, or the end.
    pub fn poll_lend(
        &mut self,
        context: &mut Context<'_>,
        take: &mut dyn FnMut(&[u8]),
    ) -> Poll<Option<Result<Option<HeaderMap>, Broken>>> {
        if let Way::Beside(wire) = &self.0 {
            return Poll::Ready(match ready!(wire.poll_lend(context, take)) {
                Ok(0) => None,
                Ok(_) => Some(Ok(None)),
                Err(_) => Some(Err(Broken::Off)),
            });
        }
        Pin::new(self).poll_frame(context).map_ok(|frame| match frame.into_data() {
            Ok(data) => {
                take(&data);
                None
            }
            Err(other) => other.into_trailers().ok(),
        })
    }

    /// A request with its body, on the connection that it came by.
    pub(super) fn of(request: Request<Incoming>, wire: &Wire) -> Request<Self> {
        let length = wire.body_left();
        if length == 0 {
            return request.map(Self::from);
        }
        let mut request = request.map(|_| Self(Way::Beside(wire.clone())));
        request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
        request
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match &mut self.0 {
            Way::Hyper(body) => Pin::new(body)
                .poll_frame(context)
                .map_err(|error| if error.is_parse() { Broken::Malformed } else { Broken::Off }),
            Way::Beside(wire) => Poll::Ready(match ready!(wire.poll_body(context)) {
                Ok(piece) if piece.is_empty() => None,
                Ok(piece) => Some(Ok(Frame::data(piece))),
                Err(_) => Some(Err(Broken::Off)),
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Way::Hyper(body) => body.is_end_stream(),
            Way::Beside(wire) => wire.body_left() == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Way::Hyper(body) => body.size_hint(),
            Way::Beside(wire) => SizeHint::with_exact(wire.body_left()),
        }
    }
}
