//! Reads an object piece by piece, each piece on a blocking thread: a slow reader holds one piece and nothing else.

use std::{fs::File, io, ops::Range, os::unix::fs::FileExt as _, path::Path, sync::Arc};

use bytes::Bytes;
use futures_util::stream;

use super::{Inner, failed, hop, within};
use crate::storage::{Content, Key};

/// The size of a piece.
const PIECE: u64 = 256 << 10;

/// Opens the file; its pieces are read as they are asked for.
pub(super) async fn open(inner: Arc<Inner>, range: Option<Range<u64>>, key: Key) -> io::Result<Content> {
    let path = inner.path(&key);
    let (file, size) = within(hop(move || inner.known(open_file(&path)))).await?;
    let whole = range.unwrap_or(0..size);
    let pieces = stream::try_unfold(whole.start..whole.end.min(size), move |left| {
        let (file, key) = (Arc::clone(&file), key.clone());
        async move {
            if left.is_empty() {
                return Ok(None);
            }
            let end = left.end.min(left.start + PIECE);
            let piece = within(hop(move || piece(&file, left.start..end)))
                .await
                .map_err(|source| failed("read", key.as_str(), source))?;
            Ok(Some((piece, end..left.end)))
        }
    });
    Ok(Content { size, chunks: Box::pin(pieces) })
}

fn open_file(path: &Path) -> io::Result<(Arc<File>, u64)> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_file() {
        Ok((Arc::new(file), metadata.len()))
    } else {
        Err(io::ErrorKind::NotFound.into())
    }
}

fn piece(file: &File, at: Range<u64>) -> io::Result<Bytes> {
    let mut buffer = vec![0; usize::try_from(at.end - at.start).unwrap_or(0)];
    file.read_exact_at(&mut buffer, at.start)?;
    Ok(buffer.into())
}
