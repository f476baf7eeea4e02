//! Removes the bytes of uploads that failed or were deleted, and says so in the ledger.
//!
//! What cannot be removed now is left to the sweep: the ledger still lists it as unpurged.

use futures_util::{StreamExt as _, stream};
use headworks_shared::{
    meta,
    model::{Scope, UploadId},
    report::Report,
    stack::Stack,
    storage::Key,
};
use tracing::warn;

/// How many objects are removed at once.
const AT_ONCE: usize = 8;

/// Removes the bytes of these uploads; says of how many they are gone now.
///
/// # Errors
/// When the ledger cannot be told.
pub(crate) async fn remove(stack: &Stack, uploads: Vec<(Scope, UploadId)>) -> Result<u64, meta::Error> {
    let gone: Vec<UploadId> = stream::iter(uploads)
        .map(async |(scope, id)| match stack.blobs.delete(&Key::object(&scope, id)).await {
            Ok(()) => Some(id),
            Err(error) => {
                warn!(upload.id = %id, error = %Report(&error), "bytes not removed, the sweep tries again");
                None
            }
        })
        .buffer_unordered(AT_ONCE)
        .filter_map(std::future::ready)
        .collect()
        .await;
    if !gone.is_empty() {
        stack.meta.purged(&gone).await?;
    }
    Ok(gone.len() as u64)
}
