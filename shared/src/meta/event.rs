//! The events that go with what is written: made here, so that all backends tell the same.

use super::{Record, Verdict};
use crate::model::{Event, EventType, ObjectPath, Scope, Timestamp, TraceContext, UploadId};

/// The event that goes with a record's verdict; `None` when nothing changed.
pub fn event(record: &Record, verdict: Verdict, at: Timestamp) -> Option<Event> {
    let seal = &record.seal;
    let (kind, details) = match verdict {
        Verdict::Stored { version } => (
            EventType::Stored,
            serde_json::json!({ "version": version, "size": seal.size, "content_type": record.envelope.media_type(seal),
                "sniffed_type": seal.sniffed_type, "digest": seal.digests }),
        ),
        Verdict::Failed { reason } => {
            (EventType::Failed, serde_json::json!({ "size": seal.size, "reason": reason }))
        }
        Verdict::Known(_) => return None,
    };
    Some(Event {
        kind,
        upload: record.id,
        scope: record.envelope.scope.clone(),
        path: record.envelope.path.clone(),
        time: at,
        trace: record.envelope.trace,
        request_id: record.envelope.request_id.clone(),
        details,
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
    let details = match was {
        Some(was) => serde_json::json!({ "version": was.version, "size": was.size }),
        None => serde_json::json!({}),
    };
    Event {
        kind: EventType::Deleted,
        upload: id,
        scope: scope.clone(),
        path: path.clone(),
        time: at,
        trace,
        request_id: None,
        details,
    }
}

/// Which version of its path an object was, and how large.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Version {
    /// Counts the objects of a path from 1.
    pub version: u64,
    /// In bytes.
    pub size: u64,
}
