//! Gathers the frames of a body into batches, under the byte budget.

use std::{future::poll_fn, task::Poll};

use bytes::Bytes;

use crate::{
    limits::{Budget, Leased},
    storage::{BodyError, Source},
};

/// What a stream leases before it reads; more follows only when bytes come faster.
const FIRST_LEASE: usize = 16 << 10;

/// What a growing batch leases on top.
const NEXT_LEASE: usize = 32 << 10;

/// The most frames in a batch: one `writev` takes up to 1,024.
const MAX_FRAMES: usize = 64;

/// When a batch is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Patience {
    /// When it is full, or no more is ready.
    Ready,
    /// When it is full, or the body has ended.
    Whole,
}

/// Some bytes of a body, with the right to hold them.
#[derive(Debug)]
pub(super) struct Batch {
    /// Private, so that a closure that writes them takes the whole batch along: of a field that it names it would take that alone,
    /// and leave the lease behind.
    chunks: Vec<Bytes>,
    /// Whether the body ended with it.
    pub(super) ended: bool,
    _lease: Leased,
}

impl Batch {
    pub(super) fn chunks(&self) -> &[Bytes] {
        &self.chunks
    }
}

/// Gathers the next batch, of about `limit` bytes; empty only at the body's end.
pub(super) async fn gather(
    body: &mut dyn Source,
    budget: &Budget,
    limit: usize,
    patience: Patience,
) -> Result<Batch, BodyError> {
    let expected = body.announced().and_then(|length| usize::try_from(length).ok()).unwrap_or(usize::MAX);
    let first =
        if patience == Patience::Whole && expected <= limit { expected } else { limit.min(FIRST_LEASE) };
    let mut lease = budget.lease(first).await;
    let (mut chunks, mut bytes): (Vec<Bytes>, usize) = (Vec::new(), 0);
    let ended = loop {
        if bytes >= limit || (patience == Patience::Ready && chunks.len() >= MAX_FRAMES) {
            break false;
        }
        if bytes >= lease.bytes() && !lease.grow(NEXT_LEASE) {
            // No more room: the batch ends here. Nobody waits for room while holding some.
            break false;
        }
        let impatient = patience == Patience::Ready && !chunks.is_empty();
        match next(body, impatient).await {
            Next::Chunk(chunk) => {
                let chunk = chunk?;
                bytes += chunk.len();
                chunks.push(chunk);
            }
            Next::NotYet => break false,
            Next::End => break true,
        }
    };
    lease.shrink(bytes);
    Ok(Batch { chunks, ended, _lease: lease })
}

enum Next {
    Chunk(Result<Bytes, BodyError>),
    NotYet,
    End,
}

async fn next(body: &mut dyn Source, impatient: bool) -> Next {
    poll_fn(|context| match body.poll_chunk(context) {
        Poll::Ready(Some(chunk)) => Poll::Ready(Next::Chunk(chunk)),
        Poll::Ready(None) => Poll::Ready(Next::End),
        Poll::Pending if impatient => Poll::Ready(Next::NotYet),
        Poll::Pending => Poll::Pending,
    })
    .await
}
