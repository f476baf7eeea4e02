//! What Headworks promises, proven of the release binary: each test runs one of its own, over real sockets and files.
//!
//! Every test ends with the checks of `Headworks::run`: it drains and ends with 0, logs nothing that was not announced, and
//! `headworks audit` finds nothing.

mod bodies;
mod crash;
mod deploy;
mod digests;
mod disconnect;
mod events;
mod fleet;
mod folder;
mod form;
mod full;
mod heads;
mod house;
mod http2;
mod memory;
mod once;
mod operate;
mod paths;
mod pressure;
mod push;
mod read;
mod refuse;
mod slow;
mod squeezed;
mod start;
mod stop;
mod systemd;
mod upload;
