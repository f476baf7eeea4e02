//! Logs and metrics.

pub mod build;
pub mod logs;
pub mod metrics;
pub mod pool;
