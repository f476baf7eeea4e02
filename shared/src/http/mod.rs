//! HTTP as all listeners speak it: the accept loop with its limits, the screening of request heads, replies and problems.

mod code;
mod problem;
mod reply;

pub use code::Code;
pub use problem::Problem;
pub use reply::{Body, Reply, json};
