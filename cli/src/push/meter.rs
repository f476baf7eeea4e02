//! How far one file is: what its body's reader tells, and its bar shows.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use super::bars::Bar;

/// The bytes of one file that the connection has taken, in its present try.
#[derive(Debug, Default)]
pub(super) struct Meter {
    taken: AtomicU64,
    /// How far any try before was.
    furthest: AtomicU64,
    bar: Option<Arc<Bar>>,
}

impl Meter {
    /// Shown on a bar, if there is one.
    pub(super) fn new(bar: Option<Arc<Bar>>) -> Arc<Self> {
        Arc::new(Self { bar, ..Self::default() })
    }

    /// The connection took so many bytes more.
    pub(super) fn took(&self, bytes: u64) {
        self.taken.fetch_add(bytes, Relaxed);
        if let Some(bar) = &self.bar {
            bar.forward(bytes);
        }
    }

    /// How far the present try is.
    pub(super) fn taken(&self) -> u64 {
        self.taken.load(Relaxed)
    }

    /// Whether the present try is further than any before, by this much.
    pub(super) fn is_ahead_by(&self, bytes: u64) -> bool {
        self.taken() > self.furthest.load(Relaxed) + bytes
    }

    /// The next try begins at the beginning.
    pub(super) fn again(&self) {
        let bytes = self.taken.swap(0, Relaxed);
        self.furthest.fetch_max(bytes, Relaxed);
        if let Some(bar) = &self.bar {
            bar.back(bytes);
        }
    }
}
