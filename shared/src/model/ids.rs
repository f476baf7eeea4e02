//! Identifiers. An upload's id is a UUIDv7 (RFC 9562), so it sorts by time and says when the upload began; an event's id is
//! derived from what happened, so that telling it twice is telling it once.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{EventType, Timestamp};

/// Names the space in which Headworks derives its ids (UUIDv5); fixed for ever.
const NAMESPACE: Uuid = Uuid::from_u128(0x6a1d_5a0e_93c7_5c0f_8a55_0de5_90f1_7a11);

/// Names one upload, and the object it makes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Uuid", into = "Uuid")]
pub struct UploadId(Uuid);

impl UploadId {
    /// An id for an upload that begins at `at`; the rest of its bits are random.
    pub fn new(at: Timestamp, random: [u8; 10]) -> Self {
        Self(uuid::Builder::from_unix_timestamp_millis(at.unix_ms(), &random).into_uuid())
    }

    /// When the upload began, to the millisecond, as the id says.
    pub fn time(self) -> Timestamp {
        let (seconds, nanos) = self.0.get_timestamp().map_or((0, 0), |at| at.to_unix());
        Timestamp::from_unix_ms(seconds * 1000 + u64::from(nanos) / 1_000_000)
    }

    /// The sixteen bytes that stores keep; they sort as the ids do.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// # Errors
    /// When `bytes` are not those of a UUIDv7.
    pub fn from_bytes(bytes: [u8; 16]) -> Result<Self, IdError> {
        Self::try_from(Uuid::from_bytes(bytes))
    }
}

impl TryFrom<Uuid> for UploadId {
    type Error = IdError;

    fn try_from(id: Uuid) -> Result<Self, IdError> {
        if id.get_version_num() == 7 { Ok(Self(id)) } else { Err(IdError) }
    }
}

impl From<UploadId> for Uuid {
    fn from(id: UploadId) -> Self {
        id.0
    }
}

impl FromStr for UploadId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Uuid::from_str(text).map_err(|_| IdError)?.try_into()
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names one event; receivers see it as `webhook-id` and know a repeat by it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventId(Uuid);

impl EventId {
    /// The one id of the event that `what` happened to `upload`.
    pub fn of(upload: UploadId, what: EventType) -> Self {
        let mut name = Vec::with_capacity(64);
        name.extend_from_slice(upload.as_bytes());
        name.extend_from_slice(what.as_str().as_bytes());
        Self(Uuid::new_v5(&NAMESPACE, &name))
    }

    /// The sixteen bytes that stores keep.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The id with these sixteen bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Derives the id under which a client's `Idempotency-Key` is remembered, within its scope.
pub(crate) fn derive(parts: &[&str]) -> Uuid {
    Uuid::new_v5(&NAMESPACE, parts.join("\0").as_bytes())
}

/// The text is not an id that Headworks gave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id is a UUIDv7, as in 0198f3c2-7b1e-7c33-9d51-2f6c1f0c6a10")]
pub struct IdError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_id_says_when_it_began_and_sorts_by_it() {
        let early = UploadId::new(Timestamp::from_unix_ms(1_700_000_000_123), [255; 10]);
        let late = UploadId::new(Timestamp::from_unix_ms(1_700_000_000_124), [0; 10]);
        assert_eq!(early.time().unix_ms(), 1_700_000_000_123);
        assert!(early < late);
        assert_eq!(early.to_string().parse(), Ok(early));
    }

    #[test]
    fn an_event_id_never_changes() {
        let upload: UploadId = "0198f3c2-7b1e-7c33-9d51-2f6c1f0c6a10".parse().unwrap();
        assert_eq!(EventId::of(upload, EventType::Stored), EventId::of(upload, EventType::Stored));
        assert_ne!(EventId::of(upload, EventType::Stored), EventId::of(upload, EventType::Deleted));
    }

    #[test]
    fn other_uuids_are_refused() {
        assert_eq!("936da01f-9abd-4d9d-80c7-02af85c822a8".parse::<UploadId>(), Err(IdError));
    }
}
