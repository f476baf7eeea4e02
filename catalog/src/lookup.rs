//! What is known of one upload. The ledger knows those that came to an end; of one whose job still waits, the object itself tells:
//! it is its own receipt.

use headworks_shared::{
    http::{Code, Problem},
    meta::Found,
    model::{Digests, Envelope, Object, ObjectPath, Status, Timestamp, UploadId},
    storage::{Error, Head, Key},
};
use serde::Serialize;
use tracing::warn;

use crate::{Catalog, Request};

/// What is known of an upload.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Known {
    /// It is an object.
    Stored(Entry),
    /// Its bytes are safe, its job has not ended; with what the client said of it.
    Queued(Entry, Box<Envelope>),
    /// It came to a bad end.
    Failed(Failure),
    /// Somebody deleted it.
    Deleted,
    /// There is no such upload in this scope, or its last byte has not come yet.
    Unknown,
}

/// An object as clients are told; `null` is what its job has yet to find out.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Entry {
    pub(crate) id: UploadId,
    pub(crate) path: ObjectPath,
    pub(crate) version: Option<u64>,
    pub(crate) size: u64,
    pub(crate) content_type: String,
    pub(crate) sniffed_type: Option<String>,
    pub(crate) digest: Option<Digests>,
    pub(crate) status: Status,
    pub(crate) received_at: Timestamp,
    pub(crate) stored_at: Option<Timestamp>,
}

/// A failed upload as clients are told.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Failure {
    pub(crate) id: UploadId,
    pub(crate) status: Status,
    pub(crate) reason: String,
    pub(crate) received_at: Timestamp,
}

impl Known {
    /// The object, with its bytes.
    ///
    /// # Errors
    /// Why there are none.
    pub(crate) fn into_entry(self) -> Result<Entry, Problem> {
        match self {
            Self::Stored(entry) | Self::Queued(entry, _) => Ok(entry),
            Self::Failed(failure) => Err(Problem::new(Code::NotFound)
                .detail(format_args!("the upload failed: {}; its bytes were removed", failure.reason))),
            Self::Deleted => Err(Code::Deleted.into()),
            Self::Unknown => Err(Code::NotFound.into()),
        }
    }
}

impl From<Object> for Entry {
    fn from(object: Object) -> Self {
        Self {
            id: object.id,
            path: object.path,
            version: Some(object.version),
            size: object.size,
            content_type: object.content_type,
            sniffed_type: object.sniffed_type,
            digest: Some(object.digests),
            status: Status::Stored,
            received_at: object.received_at,
            stored_at: Some(object.stored_at),
        }
    }
}

impl Entry {
    /// An object whose job waits. A store that cannot keep the seal leaves the digests to the job.
    fn queued(id: UploadId, envelope: &Envelope, head: &Head) -> Self {
        let seal = head.seal.as_ref();
        let sniffed_type = seal.and_then(|seal| seal.sniffed_type.clone());
        let content_type = envelope.content_type.as_deref().or(sniffed_type.as_deref());
        Self {
            id,
            path: envelope.path.clone(),
            version: None,
            size: head.size,
            content_type: content_type.unwrap_or("application/octet-stream").to_owned(),
            sniffed_type,
            digest: seal.map(|seal| seal.digests),
            status: Status::Queued,
            received_at: id.time(),
            stored_at: None,
        }
    }
}

impl Catalog {
    /// What is known of an upload in the request's scope.
    pub(crate) async fn look_up(&self, request: &Request<'_>, id: UploadId) -> Result<Known, Problem> {
        if let Some(ended) = self.ended(request, id).await? {
            return Ok(ended);
        }
        if let Some(queued) = self.queued(request, id).await? {
            return Ok(queued);
        }
        // Between the two questions it may have failed or been deleted, and lost its bytes.
        Ok(self.ended(request, id).await?.unwrap_or(Known::Unknown))
    }

    async fn ended(&self, request: &Request<'_>, id: UploadId) -> Result<Option<Known>, Problem> {
        let found = self.meta.find(&request.scope, id).await.map_err(|error| request.unavailable(&error))?;
        Ok(found.map(|found| match found {
            Found::Stored(object) => Known::Stored(object.into()),
            Found::Failed { reason } => {
                Known::Failed(Failure { id, status: Status::Failed, reason, received_at: id.time() })
            }
            Found::Deleted => Known::Deleted,
        }))
    }

    async fn queued(&self, request: &Request<'_>, id: UploadId) -> Result<Option<Known>, Problem> {
        let key = Key::object(&request.scope, id);
        match self.blobs.stat(std::slice::from_ref(&key)).await.pop() {
            Some(Ok(mut head)) => {
                let Some(envelope) = head.envelope.take() else {
                    warn!(object.key = %key, "an object has no envelope: it is nobody's receipt");
                    return Ok(None);
                };
                let entry = Entry::queued(id, &envelope, &head);
                Ok(Some(Known::Queued(entry, Box::new(envelope))))
            }
            Some(Err(Error::NotFound)) | None => Ok(None),
            Some(Err(error)) => Err(request.unavailable(&error)),
        }
    }
}
