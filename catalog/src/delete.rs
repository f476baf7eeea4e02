//! Deletion: the tombstone first, then the bytes. Whoever reads in between is told 410; whoever dies in between leaves the bytes
//! to the sweep, which finds them by the tombstone.

use std::sync::Arc;

use headworks_shared::{
    clock::Clock,
    http::{Code, Problem, Reply},
    meta::{self, Deleted},
    model::{Envelope, Scope, UploadId},
    report::Report,
    storage::{Blobs, Key},
};
use http::StatusCode;
use tracing::{error, warn};

use crate::{
    Catalog, Request,
    condition::{self, Validators, Verdict},
    empty,
    lookup::Known,
};

impl Catalog {
    /// Deletes an object; once more is no error. What was begun is ended, also when the client goes away.
    pub(crate) async fn delete(&self, request: &Request<'_>, id: UploadId) -> Result<Reply, Problem> {
        let (entry, envelope) = match self.look_up(request, id).await? {
            Known::Stored(entry) => (entry, None),
            Known::Queued(entry, envelope) => (entry, Some(*envelope)),
            Known::Failed(_) | Known::Deleted => return Ok(empty(StatusCode::NO_CONTENT)),
            Known::Unknown => return Err(Code::NotFound.into()),
        };
        let conditions = condition::judge(request.method, request.headers, &Validators::of_content(&entry));
        if conditions != Verdict::Proceed {
            return Err(Code::PreconditionFailed.into());
        }
        let deletion = Deletion {
            blobs: Arc::clone(&self.blobs),
            meta: Arc::clone(&self.meta),
            clock: self.clock.clone(),
            scope: request.scope.clone(),
            id,
            envelope,
        };
        match self.tasks.finish(deletion.run()).await {
            Ok(Ok(Deleted::Now | Deleted::Before)) => Ok(empty(StatusCode::NO_CONTENT)),
            Ok(Ok(Deleted::Unknown)) => Err(Code::NotFound.into()),
            Ok(Err(error)) => Err(request.unavailable(&error)),
            Err(error) => {
                error!(request.id = request.id, upload.id = %id, error = %Report(&error), "deletion broke down");
                Err(Code::Internal.into())
            }
        }
    }
}

/// One deletion under way; owns what it needs, because it outlives its request.
struct Deletion {
    blobs: Arc<dyn Blobs>,
    meta: Arc<dyn meta::Store>,
    clock: Clock,
    scope: Scope,
    id: UploadId,
    envelope: Option<Envelope>,
}

impl Deletion {
    async fn run(self) -> Result<Deleted, meta::Error> {
        let deleted =
            self.meta.delete(&self.scope, self.id, self.envelope.as_ref(), self.clock.now()).await?;
        if deleted == Deleted::Now {
            self.remove_bytes().await;
        }
        Ok(deleted)
    }

    /// The object is deleted from the tombstone on; bytes that stay are the sweep's to remove.
    async fn remove_bytes(&self) {
        if let Err(error) = self.blobs.delete(&Key::object(&self.scope, self.id)).await {
            warn!(upload.id = %self.id, error = %Report(&error), "bytes of a deleted object left to the sweep");
            return;
        }
        if let Err(error) = self.meta.purged(&[self.id]).await {
            warn!(upload.id = %self.id, error = %Report(&error), "removal of a deleted object's bytes not noted");
        }
    }
}
