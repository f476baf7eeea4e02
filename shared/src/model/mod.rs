//! The words of Headworks, as types: parsed at the door, then trusted. No I/O, no runtime, no clock.

mod digest;
mod event;
mod ids;
mod job;
pub(crate) mod json;
mod object;
mod path;
mod scope;
mod text;
mod timestamp;
mod trace;
mod upload;

pub use digest::{Crc64, DigestError, Digests, Hasher, Sha256Digest};
pub use event::{Event, EventType, Version, What};
pub(crate) use ids::derive as derived_id;
pub use ids::{EventId, IdError, UploadId};
pub use job::{Job, JobPayload};
pub use object::{Object, State};
pub use path::{ObjectPath, PathError};
pub use scope::{Scope, ScopeError};
pub use timestamp::{Timestamp, TimestampError};
pub use trace::TraceContext;
pub use upload::{Envelope, IDEMPOTENCY_KEY_VALID, Priority, Receipt, Seal, Status};
