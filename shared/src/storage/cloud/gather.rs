//! Gathers what must be held before it is sent: small bodies, and the parts of bodies whose length nobody knows. Every byte is leased
//! first.
//!
//! A part must be whole before it can be sent (S3 takes none below 5 MiB but the last), so its whole size is leased before it is read
//! on. Most bodies of unknown length are small, and it would be a waste to lease a part for them; so the first few KiB are read for
//! themselves. Whoever then waits for a part holds those, and no two may wait for what the other holds: parts get at most half of the
//! budget, beginnings at most a quarter, and who finds that used up waits before he reads anything.

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
        let Some(mut frame) = feed.next((limit - begun.bytes) as u64).await? else {
            begun.ended = true;
            break;
        };
        begun.bytes += frame.len();
        while !frame.is_empty() {
            if block.capacity() == block.len() {
                begun.blocks.extend((!block.is_empty()).then(|| block.split().freeze()));
                block = BytesMut::with_capacity(BLOCK.min(limit));
            }
            let room = (block.capacity() - block.len()).min(frame.len());
            block.extend_from_slice(&frame.split_to(room));
        }
    }
    begun.blocks.extend((!block.is_empty()).then(|| block.freeze()));
    Ok(begun)
}

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
        let most = |bytes: usize, each: usize| Arc::new(Semaphore::new((bytes / each).max(1)));
        Self {
            budget: budget.clone(),
            parts: most(limit / 2, part_size),
            beginnings: most(limit / 4, BEGINNING),
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

    /// Room for a part.
    pub(super) async fn part(&self) -> Result<Gathered, NoRoom> {
        self.leased(self.part_size, Some(&self.parts)).await
    }

    /// Room for a part that begins with what was gathered.
    pub(super) async fn grown(&self, begun: Gathered) -> Result<Gathered, NoRoom> {
        let rest = self.part_size.saturating_sub(begun.lease.bytes());
        let mut part = self.leased(rest, Some(&self.parts)).await?;
        let Gathered { blocks, bytes, ended, lease, _turn } = begun;
        (part.blocks, part.bytes, part.ended) = (blocks, bytes, ended);
        part.lease.merge(lease);
        Ok(part)
    }

    async fn leased(&self, bytes: usize, turns: Option<&Arc<Semaphore>>) -> Result<Gathered, NoRoom> {
        let wait = async {
            let turn = match turns {
                // They are never closed.
                Some(turns) => Arc::clone(turns).acquire_owned().await.ok(),
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
        while let Some(part) = begun.pop().and_then(|beginning| room.grown(beginning).now_or_never()) {
            parts.push(part.unwrap());
        }
        assert_eq!(parts.len(), 2, "and half of it the parts'");
        assert!(room.small(100 << 10).now_or_never().is_some(), "something is left for small bodies");
        parts.clear();
        let next = room.grown(begun.pop().unwrap()).await.unwrap();
        assert_eq!(next.lease.bytes(), 256 << 10);
        drop((next, begun));
        assert_eq!(budget.used_bytes(), 0);
    }

    #[test]
    fn a_part_is_never_more_than_half_of_the_budget() {
        let room = Room::new(&Budget::new(1 << 20), 16 << 20);
        assert_eq!(room.part_size(), 512 << 10);
    }
}
