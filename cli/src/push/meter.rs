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
    bar: Option<Arc<Bar>>,
}

impl Meter {
    /// Shown on a bar, if there is one.
    pub(super) fn new(bar: Option<Arc<Bar>>) -> Arc<Self> {
        Arc::new(Self { taken: AtomicU64::new(0), bar })
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

    /// The next try begins at the beginning.
    pub(super) fn again(&self) {
        let bytes = self.taken.swap(0, Relaxed);
        if let Some(bar) = &self.bar {
            bar.back(bytes);
        }
    }
}
