//! Work on the queue. The payload crosses processes, so it has a version, and what was ever written must parse for ever.

use serde::{Deserialize, Serialize};

use super::{Envelope, Priority, Seal, UploadId};

/// One unit of work. Its id is the upload's: pushing the same job twice is pushing it once.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Job {
    /// The upload it is about.
    pub id: UploadId,
    /// Where it stands in line.
    pub priority: Priority,
    /// How often it was tried and put back.
    #[serde(default)]
    pub tries: u32,
    /// What is to be done.
    pub payload: JobPayload,
}

/// What is to be done; a new version is a new variant.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind")]
pub enum JobPayload {
    /// An object was stored: check it, write its metadata, tell those who want to know.
    #[serde(rename = "object_stored.v1")]
    ObjectStoredV1 {
        /// What the client said.
        envelope: Envelope,
        /// What the bytes were.
        seal: Seal,
        /// Found by the sweep, with a seal of another run: its bytes are read and hashed again.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        adopted: bool,
    },
}

impl Job {
    /// The job for an object whose bytes were seen just now, or (`adopted`) that the sweep has found with its seal.
    pub fn object_stored(id: UploadId, envelope: Envelope, seal: Seal, adopted: bool) -> Self {
        let priority = envelope.priority;
        Self { id, priority, tries: 0, payload: JobPayload::ObjectStoredV1 { envelope, seal, adopted } }
    }

    /// The kind of work, as metrics and logs name it.
    pub fn kind(&self) -> &'static str {
        match self.payload {
            JobPayload::ObjectStoredV1 { .. } => "object_stored",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by 0.1; never change it, add another beside it.
    const V1: &str = r#"{"id":"0198f3c2-7b1e-7c33-9d51-2f6c1f0c6a10","priority":"high","tries":2,"payload":{"kind":"object_stored.v1",
        "envelope":{"scope":["acme","web"],"path":"a/b.jpg","content_type":"image/jpeg","priority":"high","only_if_absent":true,
        "marker":"c1d1c4a6-35f4-5c3e-8d50-7f8d8f0a9b11","request_id":"r-1","trace":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
        "seal":{"size":9,"digests":{"crc64nvme":"ae8b14860a799888","sha256":null},"sniffed_type":"image/jpeg"},"adopted":true}}"#;

    #[test]
    fn what_was_ever_written_parses_for_ever() {
        let job: Job = serde_json::from_str(V1).unwrap();
        assert_eq!(job.tries, 2);
        let JobPayload::ObjectStoredV1 { envelope, seal, adopted } = &job.payload;
        assert_eq!((envelope.path.as_str(), seal.size, *adopted), ("a/b.jpg", 9, true));
        let again: Job = serde_json::from_str(&serde_json::to_string(&job).unwrap()).unwrap();
        assert_eq!(again, job);
    }
}
