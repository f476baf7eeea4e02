//! What happened to an object, as receivers are told: CloudEvents 1.0 in its JSON form.
//! <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md>

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{Digests, EventId, ObjectPath, Scope, Timestamp, TraceContext, UploadId, json};

/// What can happen to an object.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum EventType {
    /// Its metadata is there.
    #[serde(rename = "object.stored")]
    Stored,
    /// Its job came to a bad end.
    #[serde(rename = "object.failed")]
    Failed,
    /// Somebody deleted it.
    #[serde(rename = "object.deleted")]
    Deleted,
}

impl EventType {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Stored, Self::Failed, Self::Deleted];

    /// The CloudEvents `type`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stored => "object.stored",
            Self::Failed => "object.failed",
            Self::Deleted => "object.deleted",
        }
    }
}

impl FromStr for EventType {
    type Err = EventTypeError;

    fn from_str(text: &str) -> Result<Self, EventTypeError> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(EventTypeError)
    }
}

/// No event has this type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event is one of object.stored, object.failed, object.deleted")]
pub struct EventTypeError;

/// Something that happened to an object. Its id is derived from the object and the type, so it can be told again but never twice.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// What happened, and more about it.
    pub what: What,
    /// To which object.
    pub upload: UploadId,
    /// Whose it is.
    pub scope: Scope,
    /// What the client calls it.
    pub path: ObjectPath,
    /// When it happened.
    pub time: Timestamp,
    /// The trace of the upload.
    pub trace: Option<TraceContext>,
    /// The `X-Request-Id` of the upload.
    pub request_id: Option<String>,
}

/// What happened, with what is told of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(untagged)]
pub enum What {
    /// Its metadata is there.
    Stored {
        /// Counts the objects of its path from 1.
        version: u64,
        /// In bytes.
        size: u64,
        /// What the client declared, or else what its first bytes look like.
        content_type: String,
        /// What its first bytes look like.
        sniffed_type: Option<String>,
        /// What its bytes add up to.
        digest: Digests,
    },
    /// Its job came to a bad end.
    Failed {
        /// In bytes.
        size: u64,
        /// As in `api.md`, the code of the problem.
        reason: &'static str,
    },
    /// Somebody deleted it.
    Deleted(Option<Version>),
}

/// Which version of its path an object was, and how large.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Version {
    /// Counts the objects of a path from 1.
    pub version: u64,
    /// In bytes.
    pub size: u64,
}

impl Event {
    /// Which type of event it is.
    pub fn kind(&self) -> EventType {
        match self.what {
            What::Stored { .. } => EventType::Stored,
            What::Failed { .. } => EventType::Failed,
            What::Deleted(_) => EventType::Deleted,
        }
    }

    /// The event's id, the same each time it is told.
    pub fn id(&self) -> EventId {
        EventId::of(self.upload, self.kind())
    }

    /// The event as receivers get it, in JSON.
    pub fn to_cloud_event(&self) -> String {
        let event = CloudEvent {
            specversion: "1.0",
            id: self.id(),
            source: format_args!("/headworks/{}", self.scope),
            kind: self.kind(),
            subject: self.upload,
            time: self.time,
            datacontenttype: "application/json",
            traceparent: self.trace,
            requestid: self.request_id.as_deref(),
            data: Data { id: self.upload, path: &self.path, what: &self.what },
        };
        // Its keys are all text, so it has a form in JSON.
        json::to_string(&event).unwrap_or_default()
    }
}

/// The members of CloudEvents, with its extension for tracing and one of our own.
#[derive(Serialize)]
struct CloudEvent<'a> {
    specversion: &'static str,
    id: EventId,
    source: fmt::Arguments<'a>,
    #[serde(rename = "type")]
    kind: EventType,
    subject: UploadId,
    time: Timestamp,
    datacontenttype: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<TraceContext>,
    #[serde(skip_serializing_if = "Option::is_none")]
    requestid: Option<&'a str>,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    id: UploadId,
    path: &'a ObjectPath,
    #[serde(flatten)]
    what: &'a What,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn is_told_as_a_cloud_event() {
        let event = Event {
            what: What::Deleted(Some(Version { version: 2, size: 3 })),
            upload: "0198f3c2-7b1e-7c33-9d51-2f6c1f0c6a10".parse().unwrap(),
            scope: Scope::new("acme", "web").unwrap(),
            path: "a.jpg".parse().unwrap(),
            time: Timestamp::from_unix_ms(1_795_237_920_000),
            trace: None,
            request_id: Some("r-1".to_owned()),
        };
        let told: serde_json::Value = serde_json::from_str(&event.to_cloud_event()).unwrap();
        assert_eq!((&told["type"], &told["requestid"]), (&json!("object.deleted"), &json!("r-1")));
        assert_eq!(told["source"], "/headworks/acme/web");
        assert_eq!(told["time"], "2026-11-21T05:12:00Z");
        assert_eq!(
            told["data"],
            json!({ "id": "0198f3c2-7b1e-7c33-9d51-2f6c1f0c6a10", "path": "a.jpg", "version": 2, "size": 3 })
        );
    }
}
