//! Which answers are owed on a connection: from a request's head to the last byte of its answer.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::Body;
use crate::storage::Error as StorageError;

/// The answers that are owed on a connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Answers(Arc<AtomicUsize>);

impl Answers {
    /// A request has come, and is owed an answer.
    pub(super) fn owe(&self) -> Owed {
        self.0.fetch_add(1, Ordering::Relaxed);
        Owed(self.clone())
    }

    /// Whether an answer is owed.
    pub(super) fn are_owed(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

/// An answer that is owed; travels with what makes it, and then in its body.
#[derive(Debug)]
pub(super) struct Owed(Answers);

impl Owed {
    /// Owed until the body was handed over.
    pub(super) fn until_written(self, body: Body) -> Owing {
        Owing { body, _owed: self }
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The body of an answer that is owed.
#[derive(Debug)]
pub(super) struct Owing {
    body: Body,
    _owed: Owed,
}

impl http_body::Body for Owing {
    type Data = Bytes;
    type Error = StorageError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StorageError>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
