//! What the bytes of an object add up to, read back from their store.

use futures_util::StreamExt as _;

use super::{Blobs, Error, Key};
use crate::model::{Digests, Hasher};

/// Reads an object to its end: its size and digests.
///
/// # Errors
/// When it is not there, or the store breaks off.
pub async fn digest(blobs: &dyn Blobs, key: &Key, sha256: bool) -> Result<(u64, Digests), Error> {
    let mut chunks = blobs.read(key, None).await?.chunks;
    let mut hasher = Hasher::new(sha256, false);
    let mut size = 0;
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk?;
        size += chunk.len() as u64;
        hasher.update(&chunk);
    }
    Ok((size, hasher.digests()))
}
