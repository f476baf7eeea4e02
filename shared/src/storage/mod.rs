//! Where objects are kept: the domain's verbs, and what every backend promises.
//!
//! Nothing is visible under a key until [`Blobs::put`] returned `Ok`, and nothing visible is ever replaced: every put is
//! create-only. What `put` returned `Ok` for survives a crash (with `durability = "fsync"`, also of the machine).

pub mod cloud;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod digest;
pub mod disk;
mod key;
mod source;

use std::{fmt, ops::Range, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;

pub use digest::digest;
pub use key::{Key, KeyError, Prefix};
pub use source::{BodyError, Chunks, Source};

use crate::model::{Envelope, Seal, Timestamp};

/// A store of objects.
#[async_trait]
pub trait Blobs: Send + Sync + fmt::Debug {
    /// Streams `body` into a new object, under the envelope that makes it its own receipt.
    ///
    /// # Errors
    /// [`PutError::Exists`] when the key is taken, by an object that is finished and durable; [`PutError::Body`] when the body broke
    /// off: nothing is left then. Also when the store is full or cannot be reached.
    async fn put(&self, key: &Key, envelope: &Envelope, body: &mut dyn Source) -> Result<Seal, PutError>;

    /// Creates a small object at once, with no envelope: a marker.
    ///
    /// # Errors
    /// [`PutError::Exists`] when the key is taken.
    async fn create(&self, key: &Key, content: Bytes) -> Result<(), PutError>;

    /// Makes sure that an object that is visible is as durable as its put would have made it: that put may still be on its way, or
    /// have died right before its end.
    ///
    /// # Errors
    /// When the store cannot be reached.
    async fn confirm(&self, key: &Key) -> Result<(), Error>;

    /// What is known of each object, in the order asked.
    async fn stat(&self, keys: &[Key]) -> Vec<Result<Head, Error>>;

    /// Reads an object, or the bytes `range` of it (within its size), piece by piece.
    ///
    /// # Errors
    /// [`Error::NotFound`], or the store cannot be reached.
    async fn read(&self, key: &Key, range: Option<Range<u64>>) -> Result<Content, Error>;

    /// Removes an object, as durably as it was put; one that is not there is no error.
    ///
    /// # Errors
    /// When the store cannot be reached.
    async fn delete(&self, key: &Key) -> Result<(), Error>;

    /// The finished objects below `prefix`, in the order of their keys, from behind `after`, at most `limit`.
    ///
    /// # Errors
    /// When the store cannot be reached: then nothing is known, and not "there is nothing".
    async fn list(&self, prefix: &Prefix, after: Option<&Key>, limit: usize) -> Result<Vec<Listed>, Error>;

    /// Removes what unfinished puts left behind and nobody has touched for `idle`; says how many there were.
    ///
    /// # Errors
    /// When the store cannot be reached.
    async fn sweep_unfinished(&self, idle: Duration) -> Result<u64, Error>;

    /// How the store is.
    ///
    /// # Errors
    /// When it cannot be reached or written to.
    async fn health(&self) -> Result<Health, Error>;
}

/// An object as its store knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Head {
    /// In bytes, as stored.
    pub size: u64,
    /// What the client said; `None` for a marker.
    pub envelope: Option<Envelope>,
    /// What the bytes were when they were stored, where the store could keep it.
    pub seal: Option<Seal>,
    /// When it became visible.
    pub modified: Timestamp,
}

/// One entry of a listing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listed {
    /// Its key.
    pub key: Key,
    /// In bytes.
    pub size: u64,
    /// When it became visible.
    pub modified: Timestamp,
}

/// The bytes of an object, piece by piece.
pub struct Content {
    /// The size of the whole object, in bytes.
    pub size: u64,
    /// The pieces; at most 256 KiB each.
    pub chunks: Chunks,
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Content").field("size", &self.size).finish_non_exhaustive()
    }
}

/// How a store is.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Health {
    /// The part of the disk that is free, 0 to 1; `None` where there is no end to it.
    pub free_ratio: Option<f64>,
}

/// A put came to nothing; nothing of it is visible.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// The key is taken by a finished object.
    #[error("object exists")]
    Exists,
    /// The body broke off or was not what was announced.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// No space, or no quota, is left.
    #[error("store is full")]
    Full,
    /// The store cannot be reached, or failed. The object may still come to be.
    #[error("write object {key}")]
    Unavailable {
        /// Which object.
        key: Key,
        /// Why.
        source: Cause,
    },
}

/// A store did not do what was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// There is no finished object under the key.
    #[error("object not found")]
    NotFound,
    /// The object is there, but what it says of itself cannot be understood.
    #[error("read the envelope of {subject}")]
    Damaged {
        /// Which object.
        subject: String,
        /// Why.
        source: Cause,
    },
    /// The store cannot be reached, or failed.
    #[error("{verb} {subject}")]
    Unavailable {
        /// What was tried.
        verb: &'static str,
        /// On what.
        subject: String,
        /// Why.
        source: Cause,
    },
}

/// What lies below an error of a store; shared, because one failed folder sync fails all who wait for it.
pub type Cause = Arc<dyn std::error::Error + Send + Sync>;
