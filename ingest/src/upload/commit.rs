//! The commit: from here on the object exists, and the client is told so, whatever else happens.

use std::time::Duration;

use headworks_shared::{
    fault::{Point, point},
    model::{Envelope, Job, Receipt, Seal, State, Status, UploadId},
    report::Report,
};
use tokio::time::timeout;
use tracing::warn;

use crate::{App, admission::Credit};

/// The longest wait for the queue to take a job. Then the upload is acknowledged without it, and it is queued later.
const PUSH: Duration = Duration::from_secs(2);

/// An object that was stored.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) id: UploadId,
    pub(crate) envelope: Envelope,
    pub(crate) seal: Seal,
}

/// Puts the job on the queue, and makes the receipt. A queue that fails does not fail the upload.
pub(crate) async fn commit(app: &App, stored: &Stored, credit: Credit) -> Receipt {
    point(Point::AfterBody);
    let Stored { id, envelope, seal } = stored;
    let job = || Job::object_stored(*id, envelope.clone(), seal.clone(), false);
    let status = match timeout(PUSH, credit.spend(job())).await {
        Ok(Ok(())) => Status::Queued,
        failed => {
            match failed {
                Ok(Err(error)) => warn!(upload.id = %id, error = %Report(&error), "upload deferred"),
                _ => warn!(upload.id = %id, waited = ?PUSH, "upload deferred"),
            }
            app.deferred.keep(&app.stack.queue, job());
            Status::Deferred
        }
    };
    point(Point::AfterPush);
    Receipt::new(*id, envelope, seal, status)
}

/// How a wait for the processor ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Decided {
    /// The metadata is there.
    Stored,
    /// The upload failed; the ledger has the reason.
    Failed,
    /// Not within the time.
    NotYet,
}

/// Waits until the processor has come to an end with the upload, at most `wait`. The listener was made before the push.
pub(crate) async fn decided(
    app: &App,
    mut listener: headworks_shared::outcomes::Listener,
    wait: Duration,
) -> Decided {
    let wait = wait.min(app.settings.ingest.max_wait.0);
    match timeout(wait, listener.outcome()).await {
        Ok(Some(outcome)) => match outcome.state {
            State::Stored | State::Deleted => Decided::Stored,
            State::Failed => Decided::Failed,
        },
        Ok(None) | Err(_) => Decided::NotYet,
    }
}
