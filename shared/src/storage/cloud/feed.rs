//! A client's body, frame by frame: never more of it than was asked for, and its last frame only when it has ended as announced.

use std::{future::poll_fn, time::Duration};

use bytes::Bytes;
use tokio::time::timeout;

use crate::storage::{BodyError, Source};

/// Reads a body.
pub(super) struct Feed<'a> {
    body: &'a mut dyn Source,
    /// What came beyond the border of a part.
    spill: Bytes,
    received: u64,
    ended: bool,
}

impl<'a> Feed<'a> {
    pub(super) fn new(body: &'a mut dyn Source) -> Self {
        Self { body, spill: Bytes::new(), received: 0, ended: false }
    }

    /// What the body is, when it has ended.
    pub(super) fn seal(&self) -> crate::model::Seal {
        self.body.seal()
    }

    /// How many bytes may still be handed out, where that is known.
    pub(super) fn at_most(&self) -> Option<u64> {
        self.body.at_most().map(|bytes| bytes.saturating_add(self.spill.len() as u64))
    }

    /// No more than `most` bytes are wanted at once, where the body's source can help it.
    pub(super) fn want(&mut self, most: usize) {
        self.body.want(most);
    }

    /// The next bytes, at most `most`; `None` at the end. The last bytes of an announced body come only when its end has.
    pub(super) async fn next(&mut self, most: u64) -> Result<Option<Bytes>, BodyError> {
        if self.spill.is_empty() {
            match self.poll().await? {
                Some(frame) => self.spill = frame,
                None => return Ok(None),
            }
        }
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(self.spill.len());
        Ok(Some(self.spill.split_to(most)))
    }

    /// The same, from a client that must not stop for longer than `stall`.
    pub(super) async fn next_within(
        &mut self,
        most: u64,
        stall: Duration,
    ) -> Result<Option<Bytes>, BodyError> {
        match timeout(stall, self.next(most)).await {
            Ok(next) => next,
            Err(_) => Err(BodyError::TooSlow { received: 0, waited: stall }),
        }
    }

    async fn poll(&mut self) -> Result<Option<Bytes>, BodyError> {
        if self.ended {
            return Ok(None);
        }
        let frame = poll_fn(|context| self.body.poll_chunk(context)).await.transpose()?;
        self.received += frame.as_ref().map_or(0, |frame| frame.len() as u64);
        match self.body.announced() {
            Some(length) if self.received == length && frame.is_some() => {
                self.end().await?;
                Ok(frame)
            }
            Some(length) if self.received > length => Err(BodyError::Malformed("longer than announced")),
            Some(length) if frame.is_none() && self.received < length => {
                Err(BodyError::Client { received: self.received })
            }
            _ => {
                self.ended = frame.is_none();
                Ok(frame)
            }
        }
    }

    /// Sees the body to its end behind its last byte.
    async fn end(&mut self) -> Result<(), BodyError> {
        match poll_fn(|context| self.body.poll_chunk(context)).await.transpose()? {
            None => {
                self.ended = true;
                Ok(())
            }
            Some(_) => Err(BodyError::Malformed("longer than announced")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::conformance::{Body, End, content, frames};

    #[tokio::test]
    async fn the_last_frame_comes_only_when_the_body_has_ended_well() {
        let bytes = content(30, 1);
        let broken = End::Broken(BodyError::Digest { algorithm: "sha-256" });
        let mut body = Body::new(frames(&bytes, &[10])).announcing(30).ending(broken);
        let mut feed = Feed::new(&mut body);
        assert_eq!(feed.next(100).await.unwrap().unwrap(), bytes.slice(..10));
        assert_eq!(feed.next(4).await.unwrap().unwrap(), bytes.slice(10..14));
        assert_eq!(feed.next(100).await.unwrap().unwrap(), bytes.slice(14..20));
        assert_eq!(feed.next(100).await, Err(BodyError::Digest { algorithm: "sha-256" }));
    }

    #[tokio::test]
    async fn a_body_that_is_not_as_long_as_announced_is_an_error() {
        let bytes = content(30, 1);
        for (announced, error) in
            [(31, BodyError::Client { received: 30 }), (29, BodyError::Malformed("longer than announced"))]
        {
            let mut body = Body::new(frames(&bytes, &[30])).announcing(announced);
            let mut feed = Feed::new(&mut body);
            let mut last = feed.next(100).await;
            if last.is_ok() {
                last = feed.next(100).await;
            }
            assert_eq!(last, Err(error));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_stops_is_too_slow() {
        let stalled = End::Stalled(std::sync::Arc::default());
        let mut body = Body::new([]).announcing(30).ending(stalled);
        let wait = Duration::from_secs(15);
        let next = Feed::new(&mut body).next_within(30, wait).await;
        assert_eq!(next, Err(BodyError::TooSlow { received: 0, waited: wait }));
    }
}
