//! An object as the catalog tells it.

use serde::{Deserialize, Serialize};

use super::{Digests, ObjectPath, Scope, Timestamp, UploadId};

/// What became of an upload, as the ledger keeps it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It has its metadata.
    Stored,
    /// It came to a bad end, and its bytes are removed.
    Failed,
    /// Somebody deleted it.
    Deleted,
}

impl State {
    /// Its name in stores.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Failed => "failed",
            Self::Deleted => "deleted",
        }
    }
}

/// One object, one version of its path.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Object {
    /// The upload that made it.
    pub id: UploadId,
    /// Whose it is.
    pub scope: Scope,
    /// What the client calls it.
    pub path: ObjectPath,
    /// Counts the objects of this path from 1.
    pub version: u64,
    /// In bytes.
    pub size: u64,
    /// Declared, or else seen.
    pub content_type: String,
    /// The media type that the first bytes look like.
    pub sniffed_type: Option<String>,
    /// Of the bytes.
    pub digests: Digests,
    /// When the upload began.
    pub received_at: Timestamp,
    /// When the metadata was written.
    pub stored_at: Timestamp,
}
