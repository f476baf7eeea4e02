//! Is the object what its job says? What the store kept beside the bytes is compared; the bytes themselves are read only when
//! asked for.
//!
//! "Missing" and "damaged" are final and recorded; harmless when a user deleted the object meanwhile, because the ledger has that
//! upload already and the record changes nothing. What may pass (the store cannot be reached) decides nothing.

use headworks_shared::{
    model::{Digests, Seal},
    report::Report,
    storage::{Error, Head},
};

use crate::answer::{DAMAGED, MISSING};

/// What was found out about an object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Finding {
    /// It is what the job says.
    Sound,
    /// It is not, for ever; with the code of the failure.
    Failed(&'static str),
    /// Nobody knows yet; with the reason.
    Unclear(String),
}

/// Compares what the store says of an object with its job's seal.
pub(super) fn compare(head: Result<Head, Error>, seal: &Seal) -> Finding {
    match head {
        Ok(head) if head.size != seal.size => Finding::Failed(DAMAGED),
        Ok(Head { seal: Some(kept), .. }) if !agree(&kept.digests, &seal.digests) => Finding::Failed(DAMAGED),
        Ok(_) => Finding::Sound,
        Err(error) => unread(&error),
    }
}

/// Compares what was read of an object with its job's seal.
pub(super) fn compare_bytes((size, digests): (u64, Digests), seal: &Seal) -> Finding {
    if size == seal.size && agree(&digests, &seal.digests) {
        Finding::Sound
    } else {
        Finding::Failed(DAMAGED)
    }
}

/// What it means that the store gave no object.
pub(super) fn unread(error: &Error) -> Finding {
    match error {
        Error::NotFound => Finding::Failed(MISSING),
        // Its bytes may be sound: a person must look at it.
        Error::Damaged { .. } | Error::Unavailable { .. } => Finding::Unclear(Report(error).to_string()),
    }
}

/// A SHA-256 is compared only where both sides have one.
fn agree(one: &Digests, other: &Digests) -> bool {
    let sha = one.sha256.zip(other.sha256).is_none_or(|(one, other)| one == other);
    one.crc64nvme == other.crc64nvme && sha
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use headworks_shared::model::{Crc64, Sha256Digest, Timestamp};

    use super::*;

    fn seal(size: u64, crc: u64, sha: Option<u8>) -> Seal {
        let sha256 = sha.map(|byte| Sha256Digest([byte; 32]));
        Seal { size, digests: Digests { crc64nvme: Crc64(crc), sha256 }, sniffed_type: None }
    }

    fn head(size: u64, seal: Option<Seal>) -> Result<Head, Error> {
        Ok(Head { size, envelope: None, seal, modified: Timestamp::from_unix_ms(0) })
    }

    #[test]
    fn what_differs_is_damaged() {
        let job = seal(9, 1, Some(7));
        for other in [seal(9, 2, Some(7)), seal(9, 1, Some(8))] {
            assert_eq!(compare(head(9, Some(other)), &job), Finding::Failed(DAMAGED));
        }
        assert_eq!(compare(head(8, Some(job.clone())), &job), Finding::Failed(DAMAGED));
        for same in [Some(seal(9, 1, Some(7))), Some(seal(9, 1, None)), None] {
            assert_eq!(compare(head(9, same), &job), Finding::Sound);
        }
    }

    #[test]
    fn only_not_found_means_missing() {
        assert_eq!(compare(Err(Error::NotFound), &seal(1, 1, None)), Finding::Failed(MISSING));
        let error = Error::Unavailable {
            verb: "read",
            subject: "o/1".into(),
            source: Arc::new(std::io::Error::other("disk on fire")),
        };
        assert_eq!(
            compare(Err(error), &seal(1, 1, None)),
            Finding::Unclear("read o/1: disk on fire".to_owned())
        );
    }
}
