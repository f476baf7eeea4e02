//! What keeps a dependency that is slow or gone from taking others with it.

mod backoff;
mod breaker;
mod guard;
mod retries;

pub use backoff::Backoff;
pub use breaker::{Breaker, Call, Open, Rule};
pub use guard::Guard;
pub use retries::{Retries, RetriesOf};
