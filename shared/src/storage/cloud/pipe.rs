//! Hands the frames of a client's body over to the request that carries them to the store, few at a time.
//!
//! One side reads the client, the other writes to the store's connection; one task runs both. The gate between them is shut until the
//! store has said that it wants the body: until then nothing of the client is read, and a refused request can be sent again. The store's
//! side never ends by itself: where the put goes away or the body breaks off, the request is broken off too, short of the length that it
//! declared, so that nothing of it becomes visible.

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::task::AtomicWaker;

use super::http::FEW;
use crate::limits::Leased;

/// How many bytes may wait to be written when few requests are under way: so the next frames are read while one is written. Among many the
/// next one is read when the one before was written: a thousand streams of 16 MiB take a tenth less memory for it, and a fifth less while
/// the store stalls.
const AMONG_FEW: usize = 128 << 10;

/// Between the client's frames and the request's body.
#[derive(Debug)]
pub(super) struct Pipe {
    length: u64,
    /// Requests under way.
    live: Arc<AtomicUsize>,
    state: Mutex<State>,
    store: AtomicWaker,
    client: Arc<Client>,
}

/// The client's side.
#[derive(Debug, Default)]
struct Client {
    /// How many bytes were read that the store's connection has not taken yet.
    unwritten: AtomicUsize,
    waker: AtomicWaker,
}

#[derive(Debug, Default)]
struct State {
    gate: Gate,
    /// The next frames on their way, and how many bytes they are.
    frames: VecDeque<Bytes>,
    waiting: usize,
    /// How many bytes requests have taken.
    taken: u64,
    end: End,
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
enum Gate {
    #[default]
    Shut,
    Open,
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
enum End {
    #[default]
    NotYet,
    Whole,
    Broken,
}

impl Pipe {
    /// A pipe for a body of `length` bytes, one of `live`.
    pub(super) fn new(length: u64, live: &Arc<AtomicUsize>) -> Self {
        Self {
            length,
            live: Arc::clone(live),
            state: Mutex::default(),
            store: AtomicWaker::default(),
            client: Arc::default(),
        }
    }

    /// How many bytes are to pass.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Begins a request, with the gate shut. Says whether it may: not when the one before it has read something.
    pub(super) fn begin(&self) -> bool {
        self.shut();
        let state = self.state();
        state.taken == 0 && state.end != End::Broken
    }

    /// The request has ended: while there is another try, nothing of the client is to be read.
    pub(super) fn shut(&self) {
        self.state().gate = Gate::Shut;
    }

    /// The store wants the body.
    pub(super) fn open(&self) {
        self.state().gate = Gate::Open;
        self.client.waker.wake();
        self.store.wake();
    }

    /// Whether no request has taken a byte, so that another may be made.
    pub(super) fn is_untouched(&self) -> bool {
        self.state().taken == 0
    }

    /// Whether all bytes have passed.
    pub(super) fn is_drained(&self) -> bool {
        let state = self.state();
        state.end == End::Whole && state.frames.is_empty()
    }

    /// Waits until the store wants the body.
    pub(super) async fn wanted(&self) {
        self.until(|state| state.gate == Gate::Open).await;
    }

    /// Waits until there is room for a frame.
    pub(super) async fn room(&self) {
        let few = self.is_among_few();
        let written = || self.client.unwritten.load(Ordering::Acquire) == 0;
        self.until(|state| if few { state.waiting < AMONG_FEW } else { written() }).await;
    }

    /// Waits until all frames are taken.
    pub(super) async fn empty(&self) {
        self.until(|state| state.frames.is_empty()).await;
    }

    /// Puts the next frame on its way; its lease goes back when it is written.
    pub(super) fn push(&self, frame: Bytes, lease: Leased) {
        self.client.unwritten.fetch_add(frame.len(), Ordering::Relaxed);
        let frame = Bytes::from_owner(Held { frame, _lease: lease, client: Arc::clone(&self.client) });
        let mut state = self.state();
        state.waiting += frame.len();
        state.frames.push_back(frame);
        drop(state);
        self.store.wake();
    }

    /// No more frames follow, and all is well.
    pub(super) fn finish(&self) {
        self.state().end = End::Whole;
        self.store.wake();
    }

    /// No more frames follow, and the request must come to nothing; unless all of them had passed before.
    pub(super) fn break_off(&self) {
        let mut state = self.state();
        if state.end == End::NotYet || !state.frames.is_empty() {
            state.end = End::Broken;
            state.frames = VecDeque::new();
        }
        drop(state);
        self.store.wake();
    }

    /// The next frame.
    pub(super) fn poll_take(&self, context: &mut Context<'_>) -> Poll<Result<Bytes, BrokenOff>> {
        self.store.register(context.waker());
        let mut state = self.state();
        if state.end == End::Broken {
            return Poll::Ready(Err(BrokenOff));
        }
        if state.gate == Gate::Shut {
            return Poll::Pending;
        }
        match state.frames.pop_front() {
            Some(frame) => {
                state.taken += frame.len() as u64;
                state.waiting -= frame.len();
                let emptied = state.frames.is_empty() && (state.end == End::Whole || self.is_among_few());
                drop(state);
                if emptied {
                    self.client.waker.wake();
                }
                Poll::Ready(Ok(frame))
            }
            None if state.end == End::Whole => Poll::Ready(Err(BrokenOff)),
            None => Poll::Pending,
        }
    }

    fn is_among_few(&self) -> bool {
        self.live.load(Ordering::Relaxed) <= FEW
    }

    async fn until(&self, met: impl Fn(&State) -> bool) {
        poll_fn(|context| {
            self.client.waker.register(context.waker());
            if met(&self.state()) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A frame, and the right to hold it, until the store's connection has taken it.
struct Held {
    frame: Bytes,
    _lease: Leased,
    client: Arc<Client>,
}

impl Drop for Held {
    fn drop(&mut self) {
        let before = self.client.unwritten.fetch_sub(self.frame.len(), Ordering::Release);
        if before == self.frame.len() {
            self.client.waker.wake();
        }
    }
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.frame
    }
}

/// Breaks the pipe off when dropped: whoever puts is gone, or has failed.
#[derive(Debug)]
pub(super) struct BreakOff<'a>(pub(super) &'a Pipe);

impl Drop for BreakOff<'_> {
    fn drop(&mut self) {
        self.0.break_off();
    }
}

/// The body of a request was broken off on purpose.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the body was broken off")]
pub(super) struct BrokenOff;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::{FutureExt as _, task::noop_waker};
    use tokio::time::timeout;

    use super::*;
    use crate::limits::Budget;

    fn take(pipe: &Pipe) -> Poll<Result<Bytes, BrokenOff>> {
        pipe.poll_take(&mut Context::from_waker(&noop_waker()))
    }

    #[tokio::test]
    async fn nothing_passes_before_the_gate_opens_and_then_each_frame_once() {
        let (pipe, budget) = (Pipe::new(4, &Arc::new(AtomicUsize::new(FEW + 1))), Budget::new(1 << 20));
        assert!(pipe.begin());
        assert!(pipe.wanted().now_or_never().is_none() && take(&pipe).is_pending());
        pipe.open();
        pipe.wanted().await;
        assert!(take(&pipe).is_pending());
        pipe.push(Bytes::from_static(b"abcd"), budget.lease(4).await);
        assert!(pipe.room().now_or_never().is_none());
        let Poll::Ready(Ok(frame)) = take(&pipe) else { panic!("no frame") };
        assert_eq!((&*frame, budget.used_bytes()), (&b"abcd"[..], 1024));
        assert!(pipe.room().now_or_never().is_none(), "it is not written yet");
        let room = async { tokio::join!(pipe.room(), async { drop(frame) }) };
        timeout(Duration::from_secs(1), room).await.expect("who waits for room is told");
        assert_eq!(budget.used_bytes(), 0, "the lease goes back with the frame");
        pipe.finish();
        assert!(pipe.is_drained());
    }

    #[tokio::test]
    async fn an_untouched_body_can_be_sent_again_and_a_touched_one_cannot() {
        let (pipe, budget) = (Pipe::new(4, &Arc::new(AtomicUsize::new(FEW + 1))), Budget::new(1 << 20));
        assert!(pipe.begin());
        pipe.open();
        pipe.push(Bytes::from_static(b"abcd"), budget.lease(4).await);
        assert!(pipe.begin() && take(&pipe).is_pending(), "the store of the second has yet to say yes");
        pipe.open();
        assert!(matches!(take(&pipe), Poll::Ready(Ok(_))));
        assert!(!pipe.begin());
    }

    #[tokio::test]
    async fn a_put_that_goes_away_breaks_the_request_off() {
        let (pipe, budget) = (Pipe::new(4, &Arc::new(AtomicUsize::new(FEW + 1))), Budget::new(1 << 20));
        assert!(pipe.begin());
        pipe.open();
        let guard = BreakOff(&pipe);
        pipe.push(Bytes::from_static(b"ab"), budget.lease(2).await);
        drop(guard);
        assert!(matches!(take(&pipe), Poll::Ready(Err(BrokenOff))));
        assert_eq!((budget.used_bytes(), pipe.begin()), (0, false));
    }
}
