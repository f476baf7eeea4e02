//! The protocol of an upload as a model, small enough to look at every state of it: the proof that goes with *The order of commits* in
//! `ARCHITECTURE.md`.
//!
//! One upload is sent twice under one `Idempotency-Key`, perhaps with other content the second time. Beside the two tries there are a
//! processor, a sweep, a user who deletes, and a queue and a store that forget what is not durable. [`steps`] says what each of them
//! may do next, and [`search`] goes everywhere that leads, with up to three faults on the way: crashes of each part before each of its
//! steps, a power cut, a queue that loses jobs or repeats them, a store or a database that cannot be reached or says no.
//! Each [`Promise`] is looked at in each state.
//!
//! | here | what it models |
//! |---|---|
//! | `upload` | `ingest/src/upload/{repeat,simple,commit}.rs` |
//! | `processor` | `processor/src/{worker,persist,answer}.rs`, `processor/src/stage/`, `shared/src/meta/sqlite/persist.rs` |
//! | `sweep`, `purge` | `processor/src/sweep/`, `processor/src/purge.rs` |
//! | `deletion` | `catalog/src/delete.rs`, `shared/src/meta/sqlite/ledger.rs` |
//! | `state` | `shared/src/{storage,queue,meta}/mod.rs` |
//!
//! A step is what nothing can come between: one transaction, one call to the store or the queue. Time has no length: a lease may lapse
//! and an upload may leave the sweep's reach at any moment that the rules allow. Each decision of the protocol is a [`Rule`] that can be
//! switched off, and the tests show which promise breaks without it. A new decision begins here: a rule, and its line in
//! `tests::guarded`.

mod deletion;
mod fault;
mod processor;
mod promise;
mod purge;
mod rule;
mod search;
mod sentences;
mod state;
mod step;
mod sweep;
#[cfg(test)]
mod tests;
mod upload;

pub use promise::Promise;
pub use rule::{Rule, Rules};
pub use search::{Breach, Found, World, search};
pub use state::State;
pub use step::{Act, Kind, Step, Who, steps};
