//! The events that go with what is written: made here, so that all backends tell the same.

use super::{Record, Verdict};
use crate::model::{Event, ObjectPath, Scope, Timestamp, TraceContext, UploadId, Version, What};

/// The event that goes with a record's verdict; `None` when nothing changed.
pub fn event(record: &Record, verdict: Verdict, at: Timestamp) -> Option<Event> {
    let Record { id, envelope, seal, .. } = record;
    let what = match verdict {
        Verdict::Stored { version } => What::Stored {
            version,
            size: seal.size,
            content_type: envelope.media_type(seal).to_owned(),
            sniffed_type: seal.sniffed_type.clone(),
            digest: seal.digests,
        },
        Verdict::Failed { reason } => What::Failed { size: seal.size, reason },
        Verdict::Known(_) => return None,
    };
    Some(Event {
        what,
        upload: *id,
        scope: envelope.scope.clone(),
        path: envelope.path.clone(),
        time: at,
        trace: envelope.trace,
        request_id: envelope.request_id.clone(),
    })
}

/// The event that goes with a deletion. `version` and size are told when it had been stored.
pub fn deletion(
    id: UploadId,
    scope: &Scope,
    path: &ObjectPath,
    was: Option<Version>,
    trace: Option<TraceContext>,
    at: Timestamp,
) -> Event {
    Event {
        what: What::Deleted(was),
        upload: id,
        scope: scope.clone(),
        path: path.clone(),
        time: at,
        trace,
        request_id: None,
    }
}
