//! How a pool of connections stands, whatever it connects to.

use prometheus::IntGaugeVec;

use super::metrics::Registry;

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

/// Shows how pools stand.
#[derive(Clone, Debug)]
pub struct PoolGauges {
    connections: IntGaugeVec,
    most: IntGaugeVec,
    waiting: IntGaugeVec,
}

impl PoolGauges {
    /// Registers them, so there is one for each registry. A pool that is not there has no connections.
    pub fn new(registry: &Registry) -> Self {
        let gauges = Self {
            connections: registry.gauges(
                "headworks_pool_connections",
                "Connections of a pool that are open, by what they do.",
                &["pool", "state"],
            ),
            most: registry.gauges(
                "headworks_pool_max_connections",
                "The most connections of a pool.",
                &["pool"],
            ),
            waiting: registry.gauges(
                "headworks_pool_waiting",
                "Callers that wait for a connection of a pool.",
                &["pool"],
            ),
        };
        ["redis", "database"].iter().for_each(|pool| gauges.show(pool, PoolState::default()));
        gauges
    }

    /// Shows how a pool stands.
    pub fn show(&self, pool: &str, state: PoolState) {
        let signed = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let used = state.size.saturating_sub(state.available);
        self.connections.with_label_values(&[pool, "used"]).set(signed(used));
        self.connections.with_label_values(&[pool, "idle"]).set(signed(state.available));
        self.most.with_label_values(&[pool]).set(signed(state.max));
        self.waiting.with_label_values(&[pool]).set(signed(state.waiting));
    }
}
