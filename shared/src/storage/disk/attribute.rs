//! The envelope beside the bytes: a JSON document in the extended attribute `user.headworks`.

use std::{fs::File, io, os::linux::fs::MetadataExt as _, path::Path};

use rustix::fs::XattrFlags;
use serde::{Deserialize, Serialize};

use crate::{
    model::{Envelope, Seal, Timestamp, json},
    storage::Head,
};

/// The attribute's name.
pub(super) const NAME: &str = "user.headworks";

/// The largest envelope: ext4 keeps all attributes of a file in one block of 4 KiB.
pub(super) const MAX_BYTES: usize = 3900;

#[derive(Serialize)]
struct Written<'a> {
    v: u8,
    envelope: &'a Envelope,
    seal: &'a Seal,
}

#[derive(Deserialize)]
struct Read {
    envelope: Envelope,
    seal: Seal,
}

/// The attribute for an object.
pub(super) fn encode(envelope: &Envelope, seal: &Seal) -> Vec<u8> {
    // The types of an envelope always serialize: no map, no number that is not finite.
    json::to_vec(&Written { v: 1, envelope, seal }).unwrap_or_default()
}

pub(super) fn write(file: &File, attribute: &[u8]) -> io::Result<()> {
    if attribute.len() > MAX_BYTES {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("an envelope of {} bytes is over {MAX_BYTES}", attribute.len()),
        ));
    }
    Ok(rustix::fs::fsetxattr(file, NAME, attribute, XattrFlags::CREATE)?)
}

/// What a file in place says of itself.
pub(super) fn head(path: &Path) -> io::Result<Head> {
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let mut buffer = [0_u8; MAX_BYTES + 1];
    let (envelope, seal) = match rustix::fs::getxattr(path, NAME, &mut buffer) {
        Ok(length) => {
            let damaged = |error| io::Error::new(io::ErrorKind::InvalidData, error);
            let read: Read = serde_json::from_slice(&buffer[..length]).map_err(damaged)?;
            (Some(read.envelope), Some(read.seal))
        }
        Err(rustix::io::Errno::NODATA) => (None, None),
        Err(error) => return Err(error.into()),
    };
    Ok(Head { size: metadata.len(), envelope, seal, modified: modified(&metadata) })
}

/// When a file got its name: the rename is the last change of its inode. (When it was last written may be long before, where a sync
/// took its time.)
pub(super) fn modified(metadata: &std::fs::Metadata) -> Timestamp {
    let ms = metadata.st_ctime().saturating_mul(1000).saturating_add(metadata.st_ctime_nsec() / 1_000_000);
    Timestamp::from_unix_ms(u64::try_from(ms).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by 0.1; never change it, add another beside it.
    const V1: &str = r#"{"v":1,"envelope":{"scope":["default","default"],"path":"a.txt","content_type":null,"priority":"normal"},
        "seal":{"size":3,"digests":{"crc64nvme":"ae8b14860a799888","sha256":null}}}"#;

    #[test]
    fn what_was_ever_written_parses_for_ever() {
        let read: Read = serde_json::from_str(V1).unwrap();
        let again: Read = serde_json::from_slice(&encode(&read.envelope, &read.seal)).unwrap();
        assert_eq!((again.envelope, again.seal), (read.envelope, read.seal));
    }
}
