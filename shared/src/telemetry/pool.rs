//! How a pool of connections stands, whatever it connects to.

/// A pool at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct PoolState {
    /// Connections that are open.
    pub size: usize,
    /// Those of them that nobody uses.
    pub available: usize,
    /// Callers that wait for one.
    pub waiting: usize,
    /// The most connections at once.
    pub max: usize,
}
