//! JSON of what is small and written often: into room that is enough, where `serde_json` would begin with 128 bytes and grow.

use serde::{Serialize, ser::Error as _};

/// Room for nearly all of our documents, in bytes.
const USUAL: usize = 1024;

/// The document's bytes.
///
/// # Errors
/// When a map in it has keys that are not text.
pub(crate) fn to_vec(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut document = Vec::with_capacity(USUAL);
    serde_json::to_writer(&mut document, value)?;
    Ok(document)
}

/// The document.
///
/// # Errors
/// As [`to_vec`].
pub(crate) fn to_string(value: &impl Serialize) -> serde_json::Result<String> {
    String::from_utf8(to_vec(value)?).map_err(serde_json::Error::custom)
}
