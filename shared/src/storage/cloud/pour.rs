//! Sends a client's body as the body of one request: a put, or a part of one.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use object_store::{Error as StoreError, PutPayload};
use tokio::{select, time::timeout};

use super::{
    Options,
    answer::{Told, Verdict, put_failed, verdict},
    call::Seen,
    feed::Feed,
    http::NoAnswer,
    pipe::{BreakOff, Pipe},
};
use crate::{
    limits::Budget,
    model::{Crc64, Hasher},
    storage::{BodyError, Key, PutError},
};

/// What is leased before the first read; later as much as came last time.
const FIRST_LEASE: usize = 16 << 10;

/// The most that is leased for one frame.
const MAX_LEASE: usize = 512 << 10;

/// Zeros that declare how much will be sent: they are never sent themselves, and never touched, so they take no memory. They do take room in
/// the binary, and each piece of a body of this size takes 32 bytes: 20 KiB for 5 GiB.
static ZEROS: [u8; 8 << 20] = [0; 8 << 20];

/// A payload that says how long the body will be.
pub(super) fn declared(length: u64) -> PutPayload {
    let whole = ZEROS.len() as u64;
    let slices = (0..length.div_ceil(whole)).map(|at| {
        let left = usize::try_from((length - at * whole).min(whole)).unwrap_or(ZEROS.len());
        Bytes::from_static(ZEROS.get(..left).unwrap_or(&ZEROS))
    });
    slices.collect()
}

/// A request that carried a client's body came to nothing.
#[derive(Debug)]
pub(super) enum Poured {
    /// The body broke off.
    Body(BodyError),
    /// The store refused it, or failed. `whole` says whether it had all of the bytes, so that they may be an object all the same.
    Store { error: StoreError, whole: bool },
    /// The store took no more bytes.
    Stalled(Stalled),
    /// The store had all of the bytes, and said nothing for so long.
    Silent(NoAnswer),
}

impl Poured {
    /// What it is when nothing can have come of it.
    pub(super) fn into_failure(self, key: &Key, seen: Seen) -> PutError {
        match self {
            Self::Body(error) => error.into(),
            Self::Store { error, .. } if verdict(&error, seen) == Verdict::Full => PutError::Full,
            Self::Store { error, .. } => put_failed(key, Told::from(error)),
            Self::Stalled(error) => put_failed(key, error),
            Self::Silent(error) => put_failed(key, error),
        }
    }
}

/// Sends the next bytes of `feed`, as many as `pipe` is long, as the body of the request that `put` makes; with what it answered,
/// what the bytes add up to.
pub(super) async fn pour<T>(
    put: impl Future<Output = Result<T, StoreError>>,
    pipe: &Arc<Pipe>,
    feed: &mut Feed<'_>,
    (budget, options): (&Budget, &Options),
) -> Result<(T, Crc64), Poured> {
    let _breaks_off = BreakOff(pipe);
    let mut put = std::pin::pin!(put);
    let mut hasher = Hasher::new(false, false);
    let failed = |error| Poured::Store { error, whole: pipe.is_drained() };
    let early = select! {
        // What is read is written in the same turn.
        biased;
        passed = pass_on(pipe, feed, &mut hasher, (budget, options.stall)) => {
            passed?;
            None
        }
        answer = &mut put => Some(answer.map_err(failed)?),
    };
    let answer = match early {
        Some(answer) => answer,
        None => match timeout(options.answer, put).await {
            Ok(answer) => answer.map_err(failed)?,
            Err(_) => return Err(Poured::Silent(NoAnswer(options.answer))),
        },
    };
    // A store that says yes before it has the bytes does not have them.
    if pipe.is_drained() {
        Ok((answer, hasher.digests().crc64nvme))
    } else {
        Err(Poured::Stalled(Stalled::TooEarly))
    }
}

/// Passes frames on as the store takes them.
async fn pass_on(
    pipe: &Pipe,
    feed: &mut Feed<'_>,
    hasher: &mut Hasher,
    (budget, stall): (&Budget, Duration),
) -> Result<(), Poured> {
    pipe.wanted().await;
    let (mut left, mut usual) = (pipe.length(), FIRST_LEASE);
    while left > 0 {
        // Before the next frame is read: while a store stalls, each that was read takes memory.
        within(stall, pipe.room()).await?;
        let leasing = timeout(stall, budget.lease(usual.min(usize::try_from(left).unwrap_or(usual))));
        let mut lease = leasing.await.map_err(|_| Poured::Stalled(Stalled::NoRoom(stall)))?;
        feed.want(lease.bytes());
        let next = feed.next_within(left, stall).await.map_err(Poured::Body)?;
        let frame = next.ok_or(Poured::Body(BodyError::Malformed("shorter than announced")))?;
        // What hyper has read is as large as it is; where there is no room for all of it, it is counted for less.
        let missing = frame.len().saturating_sub(lease.bytes());
        if missing == 0 || !lease.grow(missing) {
            lease.shrink(frame.len());
        }
        left -= frame.len() as u64;
        let next = if frame.len() < usual { frame.len().next_power_of_two() } else { 2 * usual };
        usual = next.clamp(FIRST_LEASE, MAX_LEASE);
        hasher.update(&frame);
        pipe.push(frame, lease);
    }
    pipe.finish();
    within(stall, pipe.empty()).await
}

async fn within(stall: Duration, taken: impl Future<Output = ()>) -> Result<(), Poured> {
    timeout(stall, taken).await.map_err(|_| Poured::Stalled(Stalled::Store(stall)))
}

/// A body stopped on its way.
#[derive(Debug, Clone, Copy, thiserror::Error)]
pub(super) enum Stalled {
    #[error("the store took no bytes for {0:?}")]
    Store(Duration),
    #[error("no room to read the body for {0:?}")]
    NoRoom(Duration),
    #[error("the store answered before the body had ended")]
    TooEarly,
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::{super::http::FEW, *};
    use crate::storage::conformance::{Body, content, frames};

    #[tokio::test(start_paused = true)]
    async fn while_a_store_takes_nothing_one_frame_waits_for_it_and_no_other_is_read() {
        let (pipe, budget) = (Pipe::new(12, &Arc::new(AtomicUsize::new(FEW + 1))), Budget::new(1 << 20));
        pipe.open();
        let mut body = Body::new(frames(&content(12, 1), &[4])).announcing(12);
        let (mut feed, mut hasher) = (Feed::new(&mut body), Hasher::new(false, false));
        let limits = (&budget, Duration::from_secs(1));
        let passed = pass_on(&pipe, &mut feed, &mut hasher, limits).await;
        assert!(matches!(passed, Err(Poured::Stalled(Stalled::Store(_)))), "{passed:?}");
        assert_eq!(feed.seal().size, 4);
    }

    #[test]
    fn a_declared_payload_is_as_long_as_it_says_and_takes_no_memory() {
        for length in [1, 8 << 20, (8 << 20) + 1, 5 << 30] {
            let payload = declared(length);
            assert_eq!(payload.content_length() as u64, length);
            assert!(payload.iter().all(|slice| slice.as_ptr() == ZEROS.as_ptr()));
        }
    }
}
