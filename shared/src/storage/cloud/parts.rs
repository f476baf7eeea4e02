//! An object of many parts: nothing of it is visible until it is completed, and what is not completed is aborted.

use std::sync::Arc;

use object_store::{MultipartUpload, PutMultipartOptions};
use tokio::time::timeout;

use super::{
    CloudBlobs, PATIENCE,
    answer::{Told, Verdict, put_failed, verdict},
    call::{Call, Target},
    feed::Feed,
    gather::Gathered,
    http::NoAnswer,
    pipe::Pipe,
    pour::{declared, pour},
    put::Differs,
    record::Record,
};
use crate::{
    model::{Crc64, Hasher},
    report::Report,
    storage::{Key, PutError},
};

/// An upload in parts; aborted when dropped before it is complete.
pub(super) struct Multipart<'a> {
    blobs: &'a CloudBlobs,
    key: &'a Key,
    record: &'a Record,
    target: Target,
    /// Gone when there is nothing to abort.
    upload: Option<Box<dyn MultipartUpload>>,
}

impl<'a> Multipart<'a> {
    /// Begins an upload.
    pub(super) async fn begin(
        blobs: &'a CloudBlobs,
        key: &'a Key,
        record: &'a Record,
    ) -> Result<Self, PutError> {
        let attributes = record.to_attributes(key).map_err(|error| put_failed(key, error))?;
        let (path, target) = blobs.place(key.as_str());
        let call = Call::control(target.clone());
        let options = PutMultipartOptions::from(attributes);
        match call.run(blobs.provider.objects.put_multipart_opts(&path, options)).await {
            Ok(upload) => Ok(Self { blobs, key, record, target, upload: Some(upload) }),
            Err(error) if verdict(&error, call.seen()) == Verdict::Full => Err(PutError::Full),
            Err(error) => Err(put_failed(key, Told::from(error))),
        }
    }

    /// The next part, of `length` bytes, straight from the client.
    pub(super) async fn stream(&mut self, feed: &mut Feed<'_>, length: u64) -> Result<(), PutError> {
        let pipe = Arc::new(Pipe::new(length, &self.blobs.provider.live));
        let call = Call::piped(self.target.clone(), &pipe);
        let part = self.upload()?.put_part(declared(length));
        let poured = pour(call.run(part), &pipe, feed, (&self.blobs.budget, &self.blobs.options)).await;
        let (_, passed) = poured.map_err(|failed| failed.into_failure(self.key, call.seen()))?;
        self.compare(call.seen().checksum, passed)
    }

    /// The next part, which is held until it is sent: `object_store` tries it again where that helps.
    pub(super) async fn send(&mut self, part: &Gathered) -> Result<(), PutError> {
        let payload = part.payload();
        let mut hasher = Hasher::new(false, false);
        payload.iter().for_each(|block| hasher.update(block));
        let call = Call::control(self.target.clone());
        let sent = self.upload()?.put_part(payload);
        match call.run(sent).await {
            Ok(()) => self.compare(call.seen().checksum, hasher.digests().crc64nvme),
            Err(error) if verdict(&error, call.seen()) == Verdict::Full => Err(PutError::Full),
            Err(error) => Err(put_failed(self.key, Told::from(error))),
        }
    }

    /// Makes the parts one object, unless there is one. When it is not clear whether that worked, the object says so.
    pub(super) async fn complete(mut self) -> Result<(), PutError> {
        let call = Call::complete(self.target.clone());
        let answer = call.run(self.upload()?.complete()).await;
        let Err(error) = answer else {
            self.upload = None;
            return Ok(());
        };
        if verdict(&error, call.seen()) == Verdict::Full {
            return Err(PutError::Full);
        }
        // A completion that was tried twice finds its own object, or no upload any more.
        let settled = self.blobs.settle(self.key, self.record, Arc::new(Told::from(error))).await;
        if settled.is_ok() {
            self.upload = None;
        }
        settled
    }

    fn upload(&mut self) -> Result<&mut Box<dyn MultipartUpload>, PutError> {
        let key = self.key;
        self.upload.as_mut().ok_or_else(|| put_failed(key, Ended))
    }

    fn compare(&self, stored: Option<Crc64>, passed: Crc64) -> Result<(), PutError> {
        match stored {
            Some(stored) if stored != passed => Err(put_failed(self.key, Differs { stored, passed })),
            _ => Ok(()),
        }
    }
}

impl Drop for Multipart<'_> {
    fn drop(&mut self) {
        let Some(upload) = self.upload.take() else { return };
        let key = self.key.clone();
        // Dropped before it has begun, it runs in a task of its own, which is waited for at the end.
        drop(self.blobs.options.tasks.finish(abort(upload, key)));
    }
}

/// Gives the parts up. What cannot be aborted now is swept later.
async fn abort(mut upload: Box<dyn MultipartUpload>, key: Key) {
    match timeout(PATIENCE, upload.abort()).await {
        Ok(Ok(())) | Ok(Err(object_store::Error::NotFound { .. })) => {}
        Ok(Err(error)) => tracing::warn!(%key, error = %Report(&error), "parts not aborted, the sweep will"),
        Err(_) => tracing::warn!(%key, error = %NoAnswer(PATIENCE), "parts not aborted, the sweep will"),
    }
}

/// The upload has come to its end.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the upload has ended")]
struct Ended;
