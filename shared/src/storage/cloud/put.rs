//! Puts, by what is known of the body.

use std::sync::Arc;

use object_store::{PutMode, PutOptions, PutPayload};
use tokio::time::sleep;

use super::{
    CloudBlobs,
    answer::{Told, Verdict, put_failed, verdict},
    call::{Call, Seen},
    feed::Feed,
    gather::{BEGINNING, Gathered, NoRoom, gather},
    parts::Multipart,
    pipe::Pipe,
    pour::{Poured, declared, pour},
    record::Record,
    resolve::Whose,
    retry::Backoff,
};
use crate::{
    model::{Crc64, Envelope, Seal},
    storage::{Blobs as _, BodyError, Cause, Key, PutError, Source},
};

impl CloudBlobs {
    /// A small body: read whole, and put as often as need be.
    pub(super) async fn put_small(
        &self,
        key: &Key,
        envelope: &Envelope,
        body: &mut dyn Source,
    ) -> Result<Seal, PutError> {
        let length = body.announced().and_then(|length| usize::try_from(length).ok()).unwrap_or_default();
        let begun = self.room.small(length.max(1)).await.map_err(|error| put_failed(key, error))?;
        let mut feed = Feed::new(body);
        let whole = gather(&mut feed, begun, length.saturating_add(1)).await?;
        self.put_gathered(key, envelope, feed.seal(), &whole).await
    }

    /// A body whose bytes are all there.
    pub(super) async fn put_gathered(
        &self,
        key: &Key,
        envelope: &Envelope,
        seal: Seal,
        whole: &Gathered,
    ) -> Result<Seal, PutError> {
        let record = Record::new(Some(envelope), Some(&seal));
        let sum = self.put_whole(key, &record, whole.payload()).await?;
        self.compare(key, sum, seal.digests.crc64nvme).await?;
        Ok(seal)
    }

    /// Puts bytes that are all there, and finds out what became of them; with what the store says they add up to.
    pub(super) async fn put_whole(
        &self,
        key: &Key,
        record: &Record,
        payload: PutPayload,
    ) -> Result<Option<Crc64>, PutError> {
        let (path, target) = self.place(key.as_str());
        let options = create_only(key, record)?;
        let mut backoff = Backoff::new(&self.options.retries);
        // Whether an earlier try may have worked.
        let mut unclear = false;
        loop {
            let call = Call::whole(target.clone());
            let put = self.provider.objects.put_opts(&path, payload.clone(), options.clone());
            let error = match call.run(put).await {
                Ok(_) => return Ok(call.seen().checksum),
                Err(error) => error,
            };
            let again = match verdict(&error, call.seen()) {
                Verdict::Taken if !unclear => return Err(PutError::Exists),
                Verdict::Full => return Err(PutError::Full),
                Verdict::Refused => return Err(put_failed(key, Told::from(error))),
                Verdict::Taken => None,
                Verdict::Contested => self.contested(key, record, &mut backoff).await?,
                Verdict::Unclear => {
                    unclear = true;
                    backoff.next()
                }
            };
            match again {
                Some(wait) => sleep(wait).await,
                None => return self.settle(key, record, Arc::new(Told::from(error))).await.map(|()| None),
            }
        }
    }

    /// Somebody else is putting the key, or has. `None` when nothing more is to be tried.
    async fn contested(
        &self,
        key: &Key,
        record: &Record,
        backoff: &mut Backoff<'_>,
    ) -> Result<Option<std::time::Duration>, PutError> {
        match self.whose(key, record).await {
            Ok(Whose::Theirs) => Err(PutError::Exists),
            Ok(Whose::Ours) => Ok(None),
            Ok(Whose::Nobodys) | Err(_) => Ok(backoff.next()),
        }
    }

    /// A body of known length: its frames are the put's body.
    pub(super) async fn put_streamed(
        &self,
        key: &Key,
        envelope: &Envelope,
        body: &mut dyn Source,
        length: u64,
    ) -> Result<Seal, PutError> {
        let record = Record::new(Some(envelope), None);
        let options = create_only(key, &record)?;
        let (path, target) = self.place(key.as_str());
        let pipe = Arc::new(Pipe::new(length, &self.provider.live));
        let call = Call::piped(target, &pipe);
        let mut feed = Feed::new(body);
        let put = call.run(self.provider.objects.put_opts(&path, declared(length), options));
        match pour(put, &pipe, &mut feed, (&self.budget, &self.options)).await {
            Ok(_) => {}
            Err(failed) => self.settle_streamed(key, &record, failed, call.seen()).await?,
        }
        let seal = feed.seal();
        self.compare(key, call.seen().checksum, seal.digests.crc64nvme).await?;
        Ok(seal)
    }

    async fn settle_streamed(
        &self,
        key: &Key,
        record: &Record,
        failed: Poured,
        seen: Seen,
    ) -> Result<(), PutError> {
        let why: Cause = match failed {
            Poured::Store { error, whole } => match verdict(&error, seen) {
                Verdict::Taken => return Err(PutError::Exists),
                Verdict::Full => return Err(PutError::Full),
                Verdict::Unclear if whole => Arc::new(Told::from(error)),
                // Either it is there, or whoever puts it now will have it there.
                Verdict::Contested => Arc::new(Told::from(error)),
                Verdict::Unclear | Verdict::Refused => return Err(put_failed(key, Told::from(error))),
            },
            Poured::Silent(error) => Arc::new(error),
            failed @ (Poured::Body(_) | Poured::Stalled(_)) => return Err(failed.into_failure(key, seen)),
        };
        self.settle(key, record, why).await
    }

    /// A body of known length that is too large for one put: parts of equal size, each streamed.
    pub(super) async fn put_planned(
        &self,
        key: &Key,
        envelope: &Envelope,
        body: &mut dyn Source,
        length: u64,
    ) -> Result<Seal, PutError> {
        let record = Record::new(Some(envelope), None);
        let mut feed = Feed::new(body);
        let mut upload = Multipart::begin(self, key, &record).await?;
        let size = part_size(length, self.options.single_put_limit);
        let mut left = length;
        while left > 0 {
            let part = left.min(size);
            upload.stream(&mut feed, part).await?;
            left -= part;
        }
        upload.complete().await?;
        Ok(feed.seal())
    }

    /// A body of unknown length: what fits one part is put whole, all else goes by parts that are held until they are sent.
    pub(super) async fn put_unknown(
        &self,
        key: &Key,
        envelope: &Envelope,
        body: &mut dyn Source,
    ) -> Result<Seal, PutError> {
        let no_room = |error: NoRoom| put_failed(key, error);
        let mut feed = Feed::new(body);
        let begun = self.room.beginning().await.map_err(no_room)?;
        let mut part = gather(&mut feed, begun, BEGINNING).await?;
        if !part.ended {
            let grown = self.room.grown(part, feed.at_most()).await.map_err(no_room)?;
            part = gather(&mut feed, grown, self.room.part_size()).await?;
        }
        if part.ended {
            return self.put_gathered(key, envelope, feed.seal(), &part).await;
        }
        if !self.options.parts {
            return match feed.next(1).await? {
                None => self.put_gathered(key, envelope, feed.seal(), &part).await,
                Some(_) => Err(BodyError::TooLarge { limit: self.room.part_size() as u64 }.into()),
            };
        }
        let record = Record::new(Some(envelope), None);
        let mut upload = Multipart::begin(self, key, &record).await?;
        loop {
            if part.len() > 0 {
                upload.send(&part).await?;
            }
            let ended = part.ended;
            drop(part);
            if ended {
                break;
            }
            let begun = self.room.part(feed.at_most()).await.map_err(no_room)?;
            part = gather(&mut feed, begun, self.room.part_size()).await?;
        }
        upload.complete().await?;
        Ok(feed.seal())
    }

    /// Compares what the store says the bytes add up to, where it does, with what passed; an object that differs is removed.
    async fn compare(&self, key: &Key, stored: Option<Crc64>, passed: Crc64) -> Result<(), PutError> {
        match stored {
            Some(stored) if stored != passed => {
                if let Err(error) = self.delete(key).await {
                    tracing::error!(%key, error = %crate::report::Report(&error), "damaged object not removed");
                }
                Err(put_failed(key, Differs { stored, passed }))
            }
            _ => Ok(()),
        }
    }
}

fn create_only(key: &Key, record: &Record) -> Result<PutOptions, PutError> {
    let attributes = record.to_attributes(key).map_err(|error| put_failed(key, error))?;
    Ok(PutOptions { mode: PutMode::Create, attributes, ..PutOptions::default() })
}

/// As few parts as the limit allows, of equal size but for the last; in whole MiB, and never below S3's 5 MiB.
fn part_size(length: u64, limit: u64) -> u64 {
    const MIB: u64 = 1 << 20;
    let parts = length.div_ceil(limit.max(1)).clamp(1, 10_000);
    length.div_ceil(parts).next_multiple_of(MIB).max(5 * MIB)
}

/// The store has other bytes than were sent.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the bytes add up to {stored} in the store, and to {passed} on their way there")]
pub(super) struct Differs {
    pub(super) stored: Crc64,
    pub(super) passed: Crc64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_few_equal_and_within_what_stores_take() {
        const GIB: u64 = 1 << 30;
        for (length, limit, size, parts) in [
            (5 * GIB + 1, 5 * GIB, 2561 << 20, 2),
            (12 * GIB, 5 * GIB, 4 * GIB, 3),
            (11 << 20, 6 << 20, 6 << 20, 2),
            (3 << 20, 1 << 20, 5 << 20, 1),
            (5 << 40, 5 * GIB, 5 * GIB, 1024),
        ] {
            assert_eq!((part_size(length, limit), length.div_ceil(part_size(length, limit))), (size, parts));
        }
    }
}
