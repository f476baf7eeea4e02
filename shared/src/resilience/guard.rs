//! What guards and counts the calls to one dependency.

use prometheus::Histogram;
use tokio::time::Instant;

use super::{Breaker, Call, Open, Retries, RetriesOf, Rule};
use crate::telemetry::metrics::Registry;

/// A breaker, and what is told of the calls that it lets through.
#[derive(Clone, Debug)]
pub struct Guard {
    breaker: Breaker,
    waited: Option<Histogram>,
    retries: Retries,
}

impl Guard {
    /// A guard that tells nobody.
    pub fn silent(target: &'static str, rule: Rule) -> Self {
        Self { breaker: Breaker::new(target, rule, None), waited: None, retries: Retries::default() }
    }

    /// The guards of the queue and of the database; registers their metrics, so there is one pair for each registry.
    pub fn both(registry: &Registry, retries: &RetriesOf) -> [Self; 2] {
        let states = registry.gauges(
            "headworks_breaker_state",
            "Whether calls to a dependency go through: 0 all, 1 some to see, 2 none.",
            &["target"],
        );
        let waited = registry.seconds_by(
            "headworks_pool_wait_seconds",
            "How long callers waited for a connection.",
            &["pool"],
        );
        [
            ("queue", "redis", Rule::QUEUE, &retries.queue),
            ("database", "database", Rule::DATABASE, &retries.database),
        ]
        .map(|(target, pool, rule, retries)| {
            let breaker = Breaker::new(target, rule, Some(states.with_label_values(&[target])));
            let shown = breaker.clone();
            registry.before_render(move || shown.show());
            Self { breaker, waited: Some(waited.with_label_values(&[pool])), retries: retries.clone() }
        })
    }

    /// Begins a call.
    ///
    /// # Errors
    /// When calls rest.
    pub fn enter(&self) -> Result<Call<'_>, Open> {
        self.breaker.enter()
    }

    /// A connection was waited for since `begun`.
    pub fn waited(&self, begun: Instant) {
        if let Some(waited) = &self.waited {
            waited.observe(begun.elapsed().as_secs_f64());
        }
    }

    /// A call is tried again.
    pub fn retried(&self) {
        self.retries.again();
    }
}
