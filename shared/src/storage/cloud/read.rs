//! Reads objects, and what is known of them.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use object_store::{
    Attributes, Error as StoreError, GetOptions, GetRange, GetResult, ObjectMeta, ObjectStore, path::Path,
};

use super::{
    answer::{Told, unavailable},
    record::Record,
};
use crate::{
    model::Timestamp,
    storage::{Content, Error, Head, Key},
};

/// The largest piece that is given out, in bytes.
const PIECE: usize = 256 << 10;

/// What a store knows of an object.
pub(super) async fn head(
    store: &dyn ObjectStore,
    path: &Path,
) -> Result<(ObjectMeta, Attributes), StoreError> {
    let options = GetOptions { head: true, ..GetOptions::default() };
    let found = store.get_opts(path, options).await?;
    Ok((found.meta, found.attributes))
}

/// What that says of it.
pub(super) fn to_head(key: &Key, meta: &ObjectMeta, attributes: &Attributes) -> Result<Head, Error> {
    let record = Record::of(attributes, key)
        .map_err(|error| Error::Damaged { subject: key.to_string(), source: Arc::new(error) })?;
    let (envelope, seal) = record.map_or((None, None), |record| (record.envelope, record.seal));
    Ok(Head { size: meta.size, envelope, seal, modified: modified(meta) })
}

/// When a store says an object became visible; to the second.
pub(super) fn modified(meta: &ObjectMeta) -> Timestamp {
    Timestamp::from_unix_ms(u64::try_from(meta.last_modified.timestamp_millis()).unwrap_or_default())
}

pub(super) async fn open(
    store: &dyn ObjectStore,
    path: &Path,
    range: Option<Range<u64>>,
) -> Result<GetResult, StoreError> {
    let options = GetOptions { range: range.map(GetRange::Bounded), ..GetOptions::default() };
    store.get_opts(path, options).await
}

/// The bytes, piece by piece; the HTTP service gives each of them its time. One that is gone amid them was there a moment ago: whoever
/// reads it again hears whether it is.
pub(super) fn content(key: &Key, opened: GetResult) -> Content {
    let (size, key) = (opened.meta.size, key.clone());
    let chunks =
        opened.into_stream().map_err(move |error| unavailable("read", key.as_str(), Told::from(error)));
    let chunks = chunks.map_ok(|chunk| stream::iter(pieces(chunk)).map(Ok)).try_flatten();
    Content { size, chunks: Box::pin(chunks) }
}

fn pieces(mut chunk: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || {
        let piece = chunk.split_to(chunk.len().min(PIECE));
        (!piece.is_empty()).then_some(piece)
    })
}
