//! HTTP as all listeners speak it: the accept loop with its limits, the screening of request heads, replies and problems.

mod addresses;
mod answers;
mod buffers;
mod code;
mod connection;
mod context;
mod front;
mod metrics;
mod problem;
mod reply;
mod request_body;
mod retry_after;
mod scope;
mod screen;
mod server;
#[cfg(test)]
mod tests;
mod wire;

pub use code::Code;
pub use context::{Context, REQUEST_ID, TRACEPARENT};
pub use front::{Front, Routes};
pub use metrics::Metrics;
pub use problem::Problem;
pub use reply::{Body, Reply, json};
pub use request_body::{Broken, RequestBody};
pub use retry_after::retry_after;
pub use scope::scope;
pub use server::{Bound, Handler, Rules, serve};
