//! What a process takes on at most: bytes in memory, and whether anything new at all.

mod budget;
mod gate;
mod memory;
mod steps;

pub use budget::{Budget, Leased};
pub use gate::{Gate, Mark, Reason, Sample, Shutter};
pub use memory::{MemoryUse, read_memory};
pub use steps::Steps;
pub(crate) use steps::woken;
