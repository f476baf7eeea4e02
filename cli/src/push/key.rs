//! The `Idempotency-Key` of a file: the same for every try, in this run and in the next one.
//!
//! It follows from what is sent and where to, so nothing has to be remembered for it: a run that was killed between an answer and the
//! line in its manifest sends the same key again, and the server answers with the same id and stores nothing twice. The server remembers
//! a key for [`IDEMPOTENCY_KEY_VALID`] (12 hours); after that, or when the upload of a key has failed or its object was deleted, the key
//! is *spent*, and the file goes on with the key's next turn.
//!
//! [`IDEMPOTENCY_KEY_VALID`]: headworks_shared::model::IDEMPOTENCY_KEY_VALID

use std::{fs::Metadata, os::unix::fs::MetadataExt as _};

use headworks_shared::model::{ObjectPath, Scope};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Names the space of these keys (UUIDv5, RFC 9562 section 5.5); fixed for ever.
const NAMESPACE: Uuid = Uuid::from_u128(0x0b1f_6c5e_52a4_5d0b_9d3e_7f41_c2aa_90e3);

/// What tells one content of a file from the next.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Stamp {
    /// In bytes.
    pub(super) size: u64,
    /// When it was last written, in nanoseconds since 1970.
    pub(super) mtime_ns: i64,
}

impl Stamp {
    /// The stamp of a file.
    pub(super) fn of(metadata: &Metadata) -> Self {
        let seconds = metadata.mtime().saturating_mul(1_000_000_000);
        Self { size: metadata.len(), mtime_ns: seconds.saturating_add(metadata.mtime_nsec()) }
    }
}

/// The key of a content at a path; `turn` counts the keys before it that are spent.
pub(super) fn key(scope: &Scope, path: &ObjectPath, stamp: Stamp, turn: u32) -> Uuid {
    derive(&["key", scope.org(), scope.project(), path.as_str()], stamp, turn)
}

/// What is in a manifest: that this content was acknowledged at this path of this server.
pub(super) fn done(to: &str, scope: &Scope, path: &ObjectPath, stamp: Stamp) -> Uuid {
    derive(&["done", to, scope.org(), scope.project(), path.as_str()], stamp, 0)
}

/// No part can have a NUL, so no two lists of parts look alike.
fn derive(parts: &[&str], stamp: Stamp, turn: u32) -> Uuid {
    let name = format!("{}\0{}\0{}\0{turn}", parts.join("\0"), stamp.size, stamp.mtime_ns);
    Uuid::new_v5(&NAMESPACE, name.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_key_never_changes_and_stands_for_one_content_at_one_path_of_one_scope() {
        let (scope, path): (_, ObjectPath) = (Scope::default(), "a/b".parse().unwrap());
        let stamp = Stamp { size: 3, mtime_ns: 1_700_000_000_123_456_789 };
        assert_eq!(key(&scope, &path, stamp, 0).to_string(), "2bc0966b-9768-5863-bdec-0c276ec5db02");
        let keys = [
            key(&scope, &path, stamp, 0),
            key(&scope, &path, stamp, 1),
            key(&scope, &"a/c".parse().unwrap(), stamp, 0),
            key(&Scope::new("default", "other").unwrap(), &path, stamp, 0),
            key(&scope, &path, Stamp { size: 4, ..stamp }, 0),
            key(&scope, &path, Stamp { mtime_ns: 5, ..stamp }, 0),
            done("http://a", &scope, &path, stamp),
            done("http://b", &scope, &path, stamp),
        ];
        assert_eq!(keys.iter().collect::<HashSet<_>>().len(), keys.len());
    }
}
