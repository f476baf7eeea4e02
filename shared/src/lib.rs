//! What every Headworks binary is made of: the words (`model`), the mechanisms and the seams.
//!
//! Who may know whom: the binaries know the seams, the seams know the mechanisms, all know `model`, and `model`
//! knows nobody. Seams do not import each other; only [`stack`] chooses backends.

#![warn(missing_docs)]

pub mod audit;
pub mod clock;
pub mod config;
pub mod data_dir;
pub mod fault;
pub mod http;
pub mod limits;
pub mod meta;
pub mod model;
pub mod ops;
pub mod outcomes;
pub mod process;
pub mod queue;
pub mod report;
pub mod resilience;
pub mod shutdown;
pub mod sqlite;
pub mod stack;
pub mod storage;
pub mod telemetry;
