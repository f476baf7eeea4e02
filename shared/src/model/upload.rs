//! An upload: what the client said of it (`Envelope`), what its bytes turned out to be (`Seal`), what the client is told
//! (`Receipt`).

use std::{str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Digests, ObjectPath, Scope, Timestamp, TraceContext, UploadId};

/// How long an `Idempotency-Key` stands for its upload: the longest that the sweep has to look back for one that is repeated.
pub const IDEMPOTENCY_KEY_VALID: Duration = Duration::from_secs(12 * 3600);

/// What the client said of an upload. It is stored with the object, so that the object is its own receipt: whatever else is
/// lost, the job can be made again from it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Envelope {
    /// Whose it is.
    pub scope: Scope,
    /// What the client calls it.
    pub path: ObjectPath,
    /// The media type that the client declared.
    pub content_type: Option<String>,
    /// How urgent its job is.
    #[serde(default)]
    pub priority: Priority,
    /// `If-None-Match: *`: the upload counts only if its path is free when it is persisted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub only_if_absent: bool,
    /// The marker of the client's `Idempotency-Key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub marker: Option<Uuid>,
    /// The request that brought it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The trace it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<TraceContext>,
}

impl Envelope {
    /// The media type to tell: the declared one, else the one that was seen.
    pub fn media_type<'a>(&'a self, seal: &'a Seal) -> &'a str {
        self.content_type.as_deref().or(seal.sniffed_type.as_deref()).unwrap_or("application/octet-stream")
    }
}

/// What the bytes of an upload turned out to be, known when the last one has passed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Seal {
    /// In bytes.
    pub size: u64,
    /// Computed while the bytes passed.
    pub digests: Digests,
    /// The media type that the first 8 KiB look like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sniffed_type: Option<String>,
}

/// How urgent a job is (RFC 9218: urgency 0–1 high, 2–4 normal, 5–7 low). Each has its own stream; they are read 8:3:1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// May fill the queue to its last place.
    High,
    /// May fill 90 % of the queue.
    #[default]
    Normal,
    /// May fill 70 % of the queue.
    Low,
}

impl Priority {
    /// All of them, most urgent first.
    pub const ALL: [Self; 3] = [Self::High, Self::Normal, Self::Low];

    /// Its place in [`Self::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Its name in metrics, logs and keys.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Normal => "normal",
            Self::Low => "low",
        }
    }

    /// How many jobs it may read in a round of twelve.
    pub const fn weight(self) -> usize {
        match self {
            Self::High => 8,
            Self::Normal => 3,
            Self::Low => 1,
        }
    }

    /// How many of `capacity` places it may take the queue's total to.
    pub const fn share_of(self, capacity: usize) -> usize {
        match self {
            Self::High => capacity,
            Self::Normal => capacity * 9 / 10,
            Self::Low => capacity * 7 / 10,
        }
    }
}

impl FromStr for Priority {
    type Err = PriorityError;

    /// Reads the urgency of a `Priority` header (a dictionary, RFC 9218 section 4); without `u` it is 3, the default.
    fn from_str(header: &str) -> Result<Self, PriorityError> {
        let mut urgency = 3;
        for member in header.split(',') {
            if let Some(value) = member.trim().strip_prefix("u=") {
                urgency = value.parse().map_err(|_| PriorityError)?;
            }
        }
        match urgency {
            0..=1 => Ok(Self::High),
            2..=4 => Ok(Self::Normal),
            5..=7 => Ok(Self::Low),
            _ => Err(PriorityError),
        }
    }
}

/// The urgency is not one of 0 to 7.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the urgency of a Priority header is u=0 to u=7")]
pub struct PriorityError;

/// How far an upload has come, as the client is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Stored safely, its job is on the queue.
    Queued,
    /// Stored safely, but the queue could not be reached: the sweep queues it.
    Deferred,
    /// Stored, and its metadata is there.
    Stored,
    /// The job came to a bad end; the object's `reason` says why.
    Failed,
}

/// The answer to an upload: the same for the first try and for every repeat.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Receipt {
    /// The upload's id, and its object's.
    pub id: UploadId,
    /// What the client calls it.
    pub path: ObjectPath,
    /// In bytes.
    pub size: u64,
    /// Declared, or else seen.
    pub content_type: String,
    /// Of the bytes as stored.
    pub digest: Digests,
    /// How far it has come.
    pub status: Status,
    /// When the upload began.
    pub received_at: Timestamp,
}

impl Receipt {
    /// The receipt for an object as it was stored.
    pub fn new(id: UploadId, envelope: &Envelope, seal: &Seal, status: Status) -> Self {
        Self {
            id,
            path: envelope.path.clone(),
            size: seal.size,
            content_type: envelope.media_type(seal).to_owned(),
            digest: seal.digests,
            status,
            received_at: id.time(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urgency_maps_to_three_priorities() {
        for (header, priority) in [
            ("u=0", Priority::High),
            ("u=1, i", Priority::High),
            ("i", Priority::Normal),
            ("i, u=4", Priority::Normal),
            ("u=7", Priority::Low),
        ] {
            assert_eq!(header.parse(), Ok(priority), "{header}");
        }
        for bad in ["u=8", "u=-1", "u=high", "u="] {
            assert_eq!(bad.parse::<Priority>(), Err(PriorityError), "{bad}");
        }
    }

    #[test]
    fn shares_leave_room_for_the_more_urgent() {
        assert_eq!(Priority::ALL.map(|priority| priority.share_of(10)), [10, 9, 7]);
    }
}
