//! One stream of a connection: its place among all, and the deadline for who takes nothing of its answer.

use std::{
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::rt::Executor;
use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    task_local,
    time::{Instant, sleep_until},
};
use tracing::debug;

use super::{super::super::addresses::Counted, conduct::Open};
use crate::{http::Body, shutdown::Tasks, storage::Error as StorageError};

/// The largest piece of an answer that is handed over at once: hyper keeps a piece as soon as one byte of it may go, and nobody knows
/// for how long.
const PIECE: usize = 16 << 10;

task_local! {
    /// When the client last had something of the answer of this task's stream.
    static TAKEN: Arc<Taken>;
}

/// When a client last took something; nothing, until its answer begins.
#[derive(Debug, Default)]
struct Taken(watch::Sender<Option<Instant>>);

impl Taken {
    fn now(&self) {
        self.0.send_replace(Some(Instant::now()));
    }

    /// Waits until it took nothing for `patience`.
    async fn stalled(&self, patience: Duration) {
        let mut taken = self.0.subscribe();
        loop {
            // It cannot fail: the sender is here.
            let last = taken.wait_for(Option::is_some).await.ok().and_then(|last| *last);
            let until = last.unwrap_or_else(Instant::now) + patience;
            sleep_until(until).await;
            if *taken.borrow() == last {
                return;
            }
        }
    }
}

/// Runs the streams of a connection, each as a task of its own.
#[derive(Clone, Debug)]
pub(super) struct Streams {
    pub(super) tasks: Tasks,
    /// The longest time in which a client takes nothing of an answer; then its stream is reset.
    pub(super) patience: Duration,
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let (taken, patience) = (Arc::new(Taken::default()), self.patience);
        self.tasks.spawn("stream", move |_| async move {
            tokio::select! {
                () = TAKEN.scope(Arc::clone(&taken), stream) => {}
                () = taken.stalled(patience) => debug!("stream reset, its client takes nothing of the answer"),
            }
        });
    }
}

/// A stream's place: one of the connections that there may be, in all and from its address.
pub(super) type Place = (OwnedSemaphorePermit, Counted);

/// An answer on its way, in small pieces.
#[derive(Debug)]
pub(super) struct Answer {
    body: Body,
    /// Of the last piece of `body`, what was not handed over.
    rest: Bytes,
    taken: Option<Arc<Taken>>,
    _held: (Option<Place>, Open),
}

impl Answer {
    /// An answer that keeps `held` until its end.
    pub(super) fn new(body: Body, held: (Option<Place>, Open)) -> Self {
        let taken = TAKEN.try_with(Arc::clone).ok();
        taken.iter().for_each(|taken| taken.now());
        Self { body, rest: Bytes::new(), taken, _held: held }
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = StorageError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StorageError>>> {
        self.taken.iter().for_each(|taken| taken.now());
        if self.rest.is_empty() {
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => frame,
                end => return Poll::Ready(end),
            };
            match frame.into_data() {
                Ok(data) => self.rest = data,
                Err(other) => return Poll::Ready(Some(Ok(other))),
            }
        }
        let piece = self.rest.len().min(PIECE);
        let behind = self.rest.split_off(piece);
        Poll::Ready(Some(Ok(Frame::data(mem::replace(&mut self.rest, behind)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64 + self.body.size_hint().lower())
    }
}

#[cfg(test)]
mod tests {
    use futures_util::poll;
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_for_too_long_has_stalled_but_not_before_there_is_an_answer() {
        const PATIENCE: Duration = Duration::from_secs(30);
        let taken = Taken::default();
        let mut stalled = Box::pin(taken.stalled(PATIENCE));
        assert!(poll!(&mut stalled).is_pending());
        advance(10 * PATIENCE).await;
        assert!(poll!(&mut stalled).is_pending());
        taken.now();
        for _ in 0..10 {
            assert!(poll!(&mut stalled).is_pending());
            advance(PATIENCE / 2).await;
            taken.now();
        }
        let last = Instant::now();
        stalled.await;
        assert_eq!(last.elapsed(), PATIENCE);
    }
}
