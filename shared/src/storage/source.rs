//! A body on its way into a store: pulled by the store, frame by frame, so that TCP pushes back on the client.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_core::Stream;

use crate::model::Seal;

/// The bytes of an upload. It counts, checks and hashes them as they pass: a source that ended without an error delivered
/// exactly what the client announced.
pub trait Source: Send {
    /// The length that was announced, in bytes; `None` for a chunked body.
    fn announced(&self) -> Option<u64>;

    /// The most bytes that may still come, where that is known.
    fn at_most(&self) -> Option<u64> {
        self.announced()
    }

    /// From now on no more than `most` bytes are wanted at once. Where a source cannot help it, more may come.
    fn want(&mut self, most: usize) {
        let _ = most;
    }

    /// The next bytes, never empty; `None` at the end. After an error there is nothing more.
    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>>;

    /// The same, lent to `take` while it runs, so that nobody needs to keep them.
    fn poll_lend(
        &mut self,
        context: &mut Context<'_>,
        take: &mut dyn FnMut(&[u8]),
    ) -> Poll<Option<Result<(), BodyError>>> {
        self.poll_chunk(context).map_ok(|chunk| take(&chunk))
    }

    /// What passed so far; after the end, what the object is.
    fn seal(&self) -> Seal;
}

/// Pieces of an object on their way to a reader.
pub type Chunks = Pin<Box<dyn Stream<Item = Result<Bytes, super::Error>> + Send>>;

/// A body was not what was announced, or did not come.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The client went away, or broke the protocol.
    #[error("client broke off after {received} bytes")]
    Client {
        /// How many came.
        received: u64,
    },
    /// More bytes than `max_object` allows.
    #[error("body is over {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: u64,
    },
    /// Nothing came for `stall_timeout`, or less than `min_rate`.
    #[error("body came too slowly: {received} bytes in {waited:?}")]
    TooSlow {
        /// How many came in that time.
        received: u64,
        /// How long was waited.
        waited: Duration,
    },
    /// A digest that the client announced is not that of the bytes.
    #[error("{algorithm} digest does not match")]
    Digest {
        /// As in the header: `sha-256`, `sha-512` or `crc64nvme`.
        algorithm: &'static str,
    },
    /// The body's framing (multipart, chunked) is broken.
    #[error("body is malformed: {0}")]
    Malformed(&'static str),
}
