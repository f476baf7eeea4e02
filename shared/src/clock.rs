//! The only reader of wall time. Everything else takes a [`Clock`], so that a test can stand still or jump.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use crate::model::{Timestamp, TraceContext, UploadId};

/// Wall time, and the ids that are made from it.
#[derive(Clone, Debug, Default)]
pub struct Clock(Option<Arc<AtomicU64>>);

impl Clock {
    /// The machine's own clock.
    pub fn system() -> Self {
        Self(None)
    }

    /// A clock for tests: it stands at `start` until it is moved.
    pub fn manual(start: Timestamp) -> Self {
        Self(Some(Arc::new(AtomicU64::new(start.unix_ms()))))
    }

    /// Moves a manual clock; the machine's own stays as it is.
    pub fn advance(&self, by: Duration) {
        if let Some(now) = &self.0 {
            now.fetch_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }

    /// This moment.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads wall time")]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Some(now) => Timestamp::from_unix_ms(now.load(Ordering::Relaxed)),
            None => {
                let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                Timestamp::from_unix_ms(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
            }
        }
    }

    /// An id for an upload that begins now.
    pub fn upload_id(&self) -> UploadId {
        let mut random = [0; 10];
        fastrand::fill(&mut random);
        UploadId::new(self.now(), random)
    }

    /// The first span of a new trace.
    pub fn trace(&self) -> TraceContext {
        TraceContext::root(fastrand::u128(..), fastrand::u64(..))
    }
}
