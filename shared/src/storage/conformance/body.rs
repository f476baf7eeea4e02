//! Bodies for tests: any content, in any frames, with any end.

use std::{
    collections::VecDeque,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::{
    model::{Hasher, Seal},
    storage::{BodyError, Source},
};

/// How a body ends.
#[derive(Clone, Debug)]
pub enum End {
    /// As announced.
    Whole,
    /// With an error.
    Broken(BodyError),
    /// Never: nothing more comes. Who waits for that is told.
    Stalled(Arc<Notify>),
}

/// A body that is read frame by frame.
#[derive(Debug)]
pub struct Body {
    frames: VecDeque<Bytes>,
    announced: Option<u64>,
    end: End,
    /// Whether the next frame is not ready at first.
    hesitant: bool,
    hesitated: bool,
    hasher: Hasher,
    size: u64,
}

impl Body {
    /// A body of these frames, of unknown length, whole.
    pub fn new(frames: impl IntoIterator<Item = Bytes>) -> Self {
        Self {
            frames: frames.into_iter().filter(|frame| !frame.is_empty()).collect(),
            announced: None,
            end: End::Whole,
            hesitant: false,
            hesitated: false,
            hasher: Hasher::new(false, false),
            size: 0,
        }
    }

    /// `content` in frames as they come from a socket, with its length announced.
    pub fn of(content: &Bytes) -> Self {
        Self::new(frames(content, &[16 << 10])).announcing(content.len())
    }

    /// The same, with a length announced.
    #[must_use]
    pub fn announcing(self, bytes: usize) -> Self {
        Self { announced: Some(bytes as u64), ..self }
    }

    /// The same, but its SHA-256 is computed too.
    #[must_use]
    pub fn with_sha256(self) -> Self {
        Self { hasher: Hasher::new(true, false), ..self }
    }

    /// The same, with another end.
    #[must_use]
    pub fn ending(self, end: End) -> Self {
        Self { end, ..self }
    }

    /// The same, but each frame is ready only when it is asked for a second time, and so is the end.
    #[must_use]
    pub fn hesitant(self) -> Self {
        Self { hesitant: true, ..self }
    }
}

impl Source for Body {
    fn announced(&self) -> Option<u64> {
        self.announced
    }

    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        if self.hesitant && !self.hesitated {
            self.hesitated = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.hesitated = false;
        if let Some(frame) = self.frames.pop_front() {
            self.hasher.update(&frame);
            self.size += frame.len() as u64;
            return Poll::Ready(Some(Ok(frame)));
        }
        match &self.end {
            End::Whole => Poll::Ready(None),
            End::Broken(error) => Poll::Ready(Some(Err(error.clone()))),
            End::Stalled(reached) => {
                reached.notify_one();
                Poll::Pending
            }
        }
    }

    fn seal(&self) -> Seal {
        Seal { size: self.size, digests: self.hasher.digests(), sniffed_type: None }
    }
}

/// So many bytes, of which no 251 in a row are like those of their neighbours; other seeds give other bytes.
pub fn content(bytes: usize, seed: u64) -> Bytes {
    let mut content = vec![0; bytes];
    fastrand::Rng::with_seed(seed).fill(&mut content);
    content.into()
}

/// `content` cut into frames of these sizes, over and over.
pub fn frames(content: &Bytes, sizes: &[usize]) -> Vec<Bytes> {
    let mut left = content.clone();
    let sizes = sizes.iter().copied().filter(|size| *size > 0).cycle();
    let mut frames: Vec<_> =
        sizes.map_while(|size| (!left.is_empty()).then(|| left.split_to(size.min(left.len())))).collect();
    frames.extend((!left.is_empty()).then_some(left));
    frames
}
