//! What keeps a dependency that is slow or gone from taking others with it.

mod backoff;
mod breaker;

pub use backoff::Backoff;
pub use breaker::{Breaker, Open, Rule};
