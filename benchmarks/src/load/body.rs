//! A body that is made while it is sent.
//!
//! All bodies are slices of one block of pseudo-random bytes: nothing is copied, nothing can be compressed, and two bodies
//! begin at different places of the block, so that no storage can keep one of them for both.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::LazyLock,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use serde::Deserialize;
use tokio::{
    sync::futures::OwnedNotified,
    time::{Instant, Sleep, sleep_until},
};

/// The block's size in bytes. It fits into a core's second cache, so that making a body costs no memory bandwidth to speak of.
const BLOCK: usize = 512 * 1024;
/// The most bytes in one frame: few system calls for a large body, and less than hyper's limit for what waits to be written.
const FRAME: usize = 256 * 1024;
/// How far apart, in bytes, two bodies begin: a prime, so that they come round to each place of the block.
const STRIDE: u64 = 4_099;
/// The block is the same in each run, so that runs can be compared.
const SEED: u64 = 0x6865_6164_776f_726b;

static RANDOM: LazyLock<Bytes> = LazyLock::new(|| {
    let mut block = vec![0; BLOCK];
    fastrand::Rng::with_seed(SEED).fill(&mut block);
    block.into()
});

/// Whether a body's length is told beforehand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Framing {
    /// `Content-Length`.
    Length,
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

/// In how many pieces a body goes that takes its time; more, if they were larger than a frame.
const PIECES: u64 = 64;

/// What is left to be sent of one body.
#[derive(Debug)]
pub(crate) struct Filler {
    at: usize,
    left: u64,
    framing: Framing,
    trickle: Option<Trickle>,
    asked: Option<Pin<Box<OwnedNotified>>>,
}

/// A body's pieces, one at a time.
#[derive(Debug)]
struct Trickle {
    bytes: usize,
    every: Duration,
    next: Pin<Box<Sleep>>,
}

impl Filler {
    /// The `number`th body, of `bytes` bytes.
    pub(crate) fn new(number: u64, bytes: u64, framing: Framing) -> Self {
        let block = u64::try_from(BLOCK).unwrap_or(u64::MAX);
        let at = usize::try_from(number.wrapping_mul(STRIDE) % block).unwrap_or(0);
        Self { at, left: bytes, framing, trickle: None, asked: None }
    }

    /// The same, when it is asked for.
    pub(crate) fn after(self, asked: OwnedNotified) -> Self {
        Self { asked: Some(Box::pin(asked)), ..self }
    }

    /// The same, sent over so long a time.
    pub(crate) fn over(self, time: Option<Duration>) -> Self {
        let bytes = usize::try_from(self.left.div_ceil(PIECES)).unwrap_or(FRAME).clamp(1, FRAME);
        let pieces = self.left.div_ceil(bytes as u64).max(1);
        let every = |time: Duration| time.div_f64(pieces as f64);
        let next = || Box::pin(sleep_until(Instant::now()));
        let trickle = time.map(|time| Trickle { bytes, every: every(time), next: next() });
        Self { trickle, ..self }
    }

    /// The next slice; `None` when all was given.
    fn next(&mut self) -> Option<Bytes> {
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        let most = self.trickle.as_ref().map_or(FRAME, |trickle| trickle.bytes);
        let length = left.min(most).min(BLOCK - self.at);
        if length == 0 {
            return None;
        }
        let slice = RANDOM.slice(self.at..self.at + length);
        self.at = (self.at + length) % BLOCK;
        self.left = self.left.saturating_sub(u64::try_from(length).unwrap_or(u64::MAX));
        Some(slice)
    }
}

impl Body for Filler {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(asked) = &mut self.asked {
            ready!(asked.as_mut().poll(context));
            self.asked = None;
        }
        if let Some(Trickle { every, next, .. }) = &mut self.trickle {
            ready!(next.as_mut().poll(context));
            let due = next.deadline() + *every;
            next.as_mut().reset(due);
        }
        Poll::Ready(self.next().map(|slice| Ok(Frame::data(slice))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0 && self.framing == Framing::Length
    }

    fn size_hint(&self) -> SizeHint {
        match self.framing {
            Framing::Length => SizeHint::with_exact(self.left),
            Framing::Chunked => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(mut body: Filler) -> Vec<Bytes> {
        std::iter::from_fn(|| body.next()).collect()
    }

    #[test]
    fn a_body_has_the_bytes_it_was_asked_for_wherever_it_begins() {
        for (number, bytes) in [(0, 0), (0, 1), (127, 10_240), (3, 524_288), (99, 3_000_001)] {
            let slices = drain(Filler::new(number, bytes, Framing::Length));
            assert_eq!(slices.iter().map(Bytes::len).sum::<usize>(), usize::try_from(bytes).unwrap());
            assert!(slices.iter().all(|slice| !slice.is_empty() && slice.len() <= FRAME));
        }
    }

    #[test]
    fn neighbours_differ() {
        let body = |number| drain(Filler::new(number, 10_240, Framing::Length)).concat();
        assert_ne!(body(1), body(2));
        assert_eq!(body(1), body(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_trickles_takes_its_time_and_is_the_same() {
        let (begun, time) = (Instant::now(), Duration::from_secs(20));
        let mut slow = Filler::new(5, 100_000, Framing::Length).over(Some(time));
        let mut bytes = Vec::new();
        while !slow.is_end_stream() {
            let frame = std::future::poll_fn(|context| Pin::new(&mut slow).poll_frame(context)).await;
            bytes.extend(frame.unwrap().unwrap().into_data().unwrap());
        }
        assert_eq!(bytes, drain(Filler::new(5, 100_000, Framing::Length)).concat());
        assert!(begun.elapsed() > time * 9 / 10 && begun.elapsed() <= time, "{:?}", begun.elapsed());
    }

    #[test]
    fn only_a_known_length_is_told() {
        assert_eq!(Filler::new(0, 7, Framing::Length).size_hint().exact(), Some(7));
        assert_eq!(Filler::new(0, 7, Framing::Chunked).size_hint().exact(), None);
    }
}
