//! The harness: runs the release binary as its users do, speaks to it over sockets, and looks at what it leaves on the disk.
//!
//! Nothing in here knows the inside of Headworks but the list of error codes and the names of digests: what the tests in
//! `tests/it` prove, they prove of the program that is shipped. What no such test can reach, the order of every crash, is proven of a
//! model: [`protocol`].

pub mod answer;
pub mod binary;
pub mod cgroup;
mod client;
pub mod config;
pub mod digest;
pub mod disk;
pub mod fleet;
mod launch;
pub mod log;
pub mod metrics;
pub mod process;
pub mod protocol;
pub mod raw;
pub mod remains;
pub mod rows;
pub mod seed;
pub mod servers;
pub mod until;
pub mod webhook;

pub use answer::Answer;
pub use cgroup::Group;
pub use client::Client;
pub use config::{Config, Mount};
pub use disk::Disk;
pub use fleet::Fleet;
pub use headworks_shared::process::raise_file_limit;
pub use metrics::Metrics;
pub use process::{Exit, Headworks};
pub use raw::Raw;
pub use rows::Rows;
pub use until::{DEADLINE, until};
