//! HTTP as all listeners speak it: the accept loop with its limits, the screening of request heads, replies and problems.

mod code;
mod problem;
mod reply;
mod scope;

pub use code::Code;
pub use problem::Problem;
pub use reply::{Body, Reply, json};
pub use scope::scope;
