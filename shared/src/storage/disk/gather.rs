//! Gathers the frames of a body into batches, under the byte budget.

use std::{future::poll_fn, task::Poll};

use bytes::{Bytes, BytesMut};

use crate::{
    limits::Leased,
    storage::{BodyError, Source},
};

/// What a stream leases before it reads; more follows only when bytes come faster.
const FIRST_LEASE: usize = 16 << 10;

/// What a growing batch leases on top.
const NEXT_LEASE: usize = 32 << 10;

/// The most frames in a batch: one `writev` takes up to 1,024.
const MAX_FRAMES: usize = 64;

/// Frames below this many bytes are copied: hyper reads 8 KiB at a time or more.
const SMALL_FRAME: usize = 2 << 10;

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

impl Patience {
    /// How much a batch leases before it is begun.
    pub(super) fn first_lease(self, announced: Option<u64>, limit: usize) -> usize {
        match announced.and_then(|length| usize::try_from(length).ok()) {
            Some(length) if self == Self::Whole && length <= limit => length,
            _ => limit.min(FIRST_LEASE),
        }
    }
}

impl Batch {
    pub(super) fn chunks(&self) -> &[Bytes] {
        &self.chunks
    }
}

/// Gathers the next batch, of about `limit` bytes; empty only at the body's end.
pub(super) async fn gather(
    body: &mut dyn Source,
    mut lease: Leased,
    limit: usize,
    patience: Patience,
) -> Result<Batch, BodyError> {
    let mut chunks = Chunks::default();
    let ended = loop {
        // A whole body of just this size is to be seen to its end.
        let full = chunks.bytes >= limit && (patience == Patience::Ready || chunks.bytes > limit);
        if full || (patience == Patience::Ready && chunks.frames.len() >= MAX_FRAMES) {
            break false;
        }
        let all_came = body.announced() == Some(chunks.bytes as u64);
        if chunks.bytes >= lease.bytes() && !all_came && !lease.grow(NEXT_LEASE) {
            // No more room: the batch ends here. Nobody waits for room while holding some.
            break false;
        }
        let impatient = patience == Patience::Ready && chunks.bytes > 0;
        body.want(limit.saturating_sub(chunks.bytes).max(SMALL_FRAME));
        match next(body, impatient).await {
            Next::Chunk(chunk) => chunks.push(chunk?),
            Next::NotYet => break false,
            Next::End => break true,
        }
    };
    lease.shrink(chunks.bytes);
    Ok(Batch { chunks: chunks.into_frames(), ended, _lease: lease })
}

/// Frames in their order, small ones copied together: each of them keeps the whole buffer alive that it was read into.
#[derive(Default)]
struct Chunks {
    frames: Vec<Bytes>,
    small: BytesMut,
    bytes: usize,
}

impl Chunks {
    fn push(&mut self, frame: Bytes) {
        self.bytes += frame.len();
        if frame.len() < SMALL_FRAME {
            self.small.extend_from_slice(&frame);
        } else {
            self.end_small();
            self.frames.push(frame);
        }
    }

    fn end_small(&mut self) {
        if !self.small.is_empty() {
            self.frames.push(self.small.split().freeze());
        }
    }

    fn into_frames(mut self) -> Vec<Bytes> {
        self.end_small();
        self.frames
    }
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
