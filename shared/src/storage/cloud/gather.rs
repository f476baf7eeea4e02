//! Gathers what must be held before it is sent: small bodies, and the parts of bodies whose length nobody knows. Every byte is leased
//! first.
//!
//! A part must be whole before it can be sent (S3 takes none below 5 MiB but the last), so its whole size is leased before it is read
//! on. Nobody may wait for that while others wait for what he holds: parts get at most half of the budget, and those who wait for one
//! with a small body's bytes in their hands get at most an eighth; who finds that full is refused.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::{PATIENCE, feed::Feed};
use crate::{
    limits::{Budget, Leased},
    storage::BodyError,
};

/// Frames are copied into blocks of this size: each frame keeps the whole buffer alive that it was read into.
const BLOCK: usize = 256 << 10;

/// Some bytes of a body, with the right to hold them.
#[derive(Debug)]
pub(super) struct Gathered {
    blocks: Vec<Bytes>,
    bytes: usize,
    /// Whether the body ended with it.
    pub(super) ended: bool,
    lease: Leased,
    _part: Option<OwnedSemaphorePermit>,
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

/// Reads up to `limit` bytes under a lease that is good for them; with `beyond`, one byte more tells whether there is one.
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
    waiting: Arc<Semaphore>,
    part_size: usize,
}

impl Room {
    pub(super) fn new(budget: &Budget, part_size: usize, small_body: usize) -> Self {
        let limit = budget.limit_bytes();
        let part_size = part_size.clamp(1, (limit / 2).max(1));
        let most = |bytes: usize, each: usize| Arc::new(Semaphore::new((bytes / each.max(1)).max(1)));
        Self {
            budget: budget.clone(),
            parts: most(limit / 2, part_size),
            waiting: most(limit / 8, small_body.max(1)),
            part_size,
        }
    }

    /// How large a part is, in bytes.
    pub(super) fn part_size(&self) -> usize {
        self.part_size
    }

    /// Room for a small body of `bytes`.
    pub(super) async fn small(&self, bytes: usize) -> Result<Gathered, NoRoom> {
        let lease = timeout(PATIENCE, self.budget.lease(bytes)).await.map_err(|_| NoRoom)?;
        Ok(Gathered { blocks: Vec::new(), bytes: 0, ended: false, lease, _part: None })
    }

    /// Room for a part.
    pub(super) async fn part(&self) -> Result<Gathered, NoRoom> {
        self.leased(self.part_size).await
    }

    /// Room for a part that begins with what was gathered.
    pub(super) async fn grown(&self, begun: Gathered) -> Result<Gathered, NoRoom> {
        let _waits = Arc::clone(&self.waiting).try_acquire_owned().map_err(|_| NoRoom)?;
        let rest = self.part_size.saturating_sub(begun.lease.bytes());
        let mut part = self.leased(rest).await?;
        let Gathered { blocks, bytes, ended, lease, _part } = begun;
        (part.blocks, part.bytes, part.ended) = (blocks, bytes, ended);
        part.lease.merge(lease);
        Ok(part)
    }

    async fn leased(&self, bytes: usize) -> Result<Gathered, NoRoom> {
        let wait = async {
            let part = Arc::clone(&self.parts).acquire_owned().await.ok();
            (part, self.budget.lease(bytes).await)
        };
        let (part, lease) = timeout(PATIENCE, wait).await.map_err(|_| NoRoom)?;
        Ok(Gathered { blocks: Vec::new(), bytes: 0, ended: false, lease, _part: part })
    }
}

/// There is no room in the byte budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no room to read the body")]
pub(super) struct NoRoom;
