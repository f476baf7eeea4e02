//! Gathers what must be held before it is sent: small bodies, and the parts of bodies whose length nobody knows. Every byte is leased
//! first.
//!
//! A part must be whole before it can be sent (S3 takes none below 5 MiB but the last), so its whole size is leased before it is read
//! on; where no more than that can come, as in a form whose request has a length, only what can. Most bodies of unknown length are small,
//! and it would be a waste to lease a part for them; so the first few KiB are read for themselves. Whoever then waits for a part holds
//! those, and no two may wait for what the other holds: parts get at most half of the budget, beginnings at most a quarter, and who finds
//! that used up waits before he reads anything. Who parses a form while its files wait holds at most an eighth (`ingest::admission`), so
//! that an eighth is always there for those who wait for nobody: small bodies, and single frames.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::feed::Feed;
use crate::{
    limits::{Budget, Leased},
    storage::BodyError,
};

/// Frames are copied into blocks of this size: each frame keeps the whole buffer alive that it was read into.
const BLOCK: usize = 256 << 10;

/// What is read of a body of unknown length before a part is leased for it.
pub(super) const BEGINNING: usize = 16 << 10;

/// The longest wait for room: others send their bodies meanwhile, over a store that may be slow.
const ROOM: Duration = Duration::from_secs(300);

/// Some bytes of a body, with the right to hold them.
#[derive(Debug)]
pub(super) struct Gathered {
    blocks: Vec<Bytes>,
    bytes: usize,
    /// Whether the body ended with it.
    pub(super) ended: bool,
    lease: Leased,
    _turn: Option<OwnedSemaphorePermit>,
}

impl Gathered {
    pub(super) fn len(&self) -> usize {
        self.bytes
    }

    /// The bytes, to be sent as often as need be; `self` must outlive that.
    pub(super) fn payload(&self) -> object_store::PutPayload {
        self.blocks.iter().cloned().collect()
    }
}

/// Reads on, up to `limit` bytes in all, under a lease that is good for them.
pub(super) async fn gather(
    feed: &mut Feed<'_>,
    mut begun: Gathered,
    limit: usize,
) -> Result<Gathered, BodyError> {
    let mut block = BytesMut::new();
    while begun.bytes < limit {
        feed.want(limit - begun.bytes);
        let Some(mut frame) = feed.next((limit - begun.bytes) as u64).await? else {
            begun.ended = true;
            break;
        };
        begun.bytes += frame.len();
        while !frame.is_empty() {
            if block.capacity() == block.len() {
                begun.blocks.extend((!block.is_empty()).then(|| block.split().freeze()));
                let leased = begun.lease.bytes().saturating_sub(begun.bytes - frame.len());
                block = BytesMut::with_capacity(leased.max(frame.len()).min(BLOCK));
            }
            let room = (block.capacity() - block.len()).min(frame.len());
            block.extend_from_slice(&frame.split_to(room));
        }
    }
    begun.blocks.extend((!block.is_empty()).then(|| block.freeze()));
    Ok(begun)
}

/// What shares are counted in, as the budget is.
const UNIT: usize = 1 << 10;

/// Shares the budget out among the parts.
#[derive(Clone, Debug)]
pub(super) struct Room {
    budget: Budget,
    parts: Arc<Semaphore>,
    beginnings: Arc<Semaphore>,
    part_size: usize,
}

impl Room {
    pub(super) fn new(budget: &Budget, part_size: usize) -> Self {
        let limit = budget.limit_bytes();
        let part_size = part_size.clamp(1, (limit / 2).max(1));
        let share = |bytes: usize, one: usize| Arc::new(Semaphore::new(bytes.max(one).div_ceil(UNIT)));
        Self {
            budget: budget.clone(),
            parts: share(limit / 2, part_size),
            beginnings: share(limit / 4, BEGINNING),
            part_size,
        }
    }

    /// How large a part is, in bytes.
    pub(super) fn part_size(&self) -> usize {
        self.part_size
    }

    /// Room for a small body of `bytes`.
    pub(super) async fn small(&self, bytes: usize) -> Result<Gathered, NoRoom> {
        self.leased(bytes, None).await
    }

    /// Room for the beginning of a body.
    pub(super) async fn beginning(&self) -> Result<Gathered, NoRoom> {
        self.leased(BEGINNING, Some(&self.beginnings)).await
    }

    /// Room for a part, of a body of which `at_most` so much may still come.
    pub(super) async fn part(&self, at_most: Option<u64>) -> Result<Gathered, NoRoom> {
        self.leased(self.most(0, at_most), Some(&self.parts)).await
    }

    /// Room for a part that begins with what was gathered.
    pub(super) async fn grown(&self, begun: Gathered, at_most: Option<u64>) -> Result<Gathered, NoRoom> {
        let rest = self.most(begun.bytes, at_most).saturating_sub(begun.lease.bytes());
        let mut part = self.leased(rest, Some(&self.parts)).await?;
        let Gathered { blocks, bytes, ended, lease, _turn } = begun;
        (part.blocks, part.bytes, part.ended) = (blocks, bytes, ended);
        part.lease.merge(lease);
        Ok(part)
    }

    /// How large a part can become that has `begun` bytes.
    fn most(&self, begun: usize, at_most: Option<u64>) -> usize {
        let more = at_most.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(usize::MAX);
        begun.saturating_add(more).min(self.part_size)
    }

    async fn leased(&self, bytes: usize, share: Option<&Arc<Semaphore>>) -> Result<Gathered, NoRoom> {
        let wait = async {
            let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
            let turn = match share {
                // They are never closed.
                Some(share) => Arc::clone(share).acquire_many_owned(units).await.ok(),
                None => None,
            };
            (turn, self.budget.lease(bytes).await)
        };
        let (_turn, lease) = timeout(ROOM, wait).await.map_err(|_| NoRoom)?;
        Ok(Gathered { blocks: Vec::new(), bytes: 0, ended: false, lease, _turn })
    }
}

/// There is no room in the byte budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no room to read the body")]
pub(super) struct NoRoom;

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn those_who_wait_for_a_part_leave_room_for_it() {
        let budget = Budget::new(1 << 20);
        let room = Room::new(&budget, 256 << 10);
        let mut begun = Vec::new();
        while let Some(beginning) = room.beginning().now_or_never() {
            begun.push(beginning.unwrap());
        }
        assert_eq!((begun.len(), budget.used_bytes()), (16, 256 << 10), "a quarter of it is theirs");
        let mut parts = Vec::new();
        while let Some(part) = begun.pop().and_then(|beginning| room.grown(beginning, None).now_or_never()) {
            parts.push(part.unwrap());
        }
        assert_eq!(parts.len(), 2, "and half of it the parts'");
        assert!(room.small(100 << 10).now_or_never().is_some(), "something is left for small bodies");
        parts.clear();
        let next = room.grown(begun.pop().unwrap(), None).await.unwrap();
        assert_eq!(next.lease.bytes(), 256 << 10);
        drop((next, begun));
        assert_eq!(budget.used_bytes(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_is_leased_than_can_come() {
        const PHOTO: usize = 20 << 10;
        let budget = Budget::new(1 << 20);
        let room = Room::new(&budget, 512 << 10);
        let mut photos = Vec::new();
        for _ in 0..8 {
            let mut begun = room.beginning().await.unwrap();
            begun.bytes = BEGINNING;
            let more = (PHOTO - BEGINNING) as u64;
            let part = room.grown(begun, Some(more)).now_or_never().expect("each has room");
            photos.push(part.unwrap());
        }
        assert_eq!(budget.used_bytes(), 8 * PHOTO);
        let next = room.part(Some(5000)).await.unwrap();
        assert_eq!(next.lease.bytes(), 5 << 10);
        let none = room.part(Some(0)).await.unwrap();
        assert_eq!(none.lease.bytes(), UNIT, "what has ended leases next to nothing");
    }

    #[tokio::test]
    async fn what_is_gathered_takes_no_larger_blocks_than_are_leased() {
        use crate::storage::conformance::{Body, content, frames};
        let (bytes, room) = (content(20 << 10, 1), Room::new(&Budget::new(1 << 20), 512 << 10));
        let mut body = Body::new(frames(&bytes, &[3000]));
        let mut feed = Feed::new(&mut body);
        let begun = gather(&mut feed, room.beginning().await.unwrap(), BEGINNING).await.unwrap();
        let grown = room.grown(begun, Some(4 << 10)).await.unwrap();
        let whole = gather(&mut feed, grown, room.part_size()).await.unwrap();
        assert!(whole.ended && whole.blocks.concat() == bytes);
        assert_eq!(whole.blocks.iter().map(Bytes::len).collect::<Vec<_>>(), [BEGINNING, 4 << 10]);
    }

    #[test]
    fn a_part_is_never_more_than_half_of_the_budget() {
        let room = Room::new(&Budget::new(1 << 20), 16 << 20);
        assert_eq!(room.part_size(), 512 << 10);
    }
}
