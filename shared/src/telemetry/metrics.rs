//! Metrics: one struct for each part of the program, registered once, every series there from the start.
//!
//! Each part makes its own with these helpers; a name that is registered twice is a mistake in the program and found by every test that starts it.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use prometheus::{
    CounterVec, Encoder as _, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter,
    IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry as Inner, TextEncoder,
};

/// Where all metrics of a process are registered.
#[derive(Clone, Default)]
pub struct Registry(Inner, Arc<Mutex<Vec<Look>>>);

/// Brings gauges up to date that nobody keeps so.
type Look = Box<dyn Fn() + Send + Sync>;

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Registry").finish_non_exhaustive()
    }
}

macro_rules! plain {
    ($($(#[$doc:meta])* $verb:ident -> $kind:ty { $make:expr })+) => { $(
        $(#[$doc])*
        ///
        /// # Panics
        /// When the name is taken or malformed.
        #[must_use]
        pub fn $verb(&self, name: &str, help: &str) -> $kind {
            let metric: $kind = ($make)(name, help);
            self.register(&metric);
            metric
        }
    )+ };
}

macro_rules! labelled {
    ($($(#[$doc:meta])* $verb:ident -> $kind:ty { $make:expr })+) => { $(
        $(#[$doc])*
        ///
        /// # Panics
        /// When the name is taken or malformed.
        #[must_use]
        pub fn $verb(&self, name: &str, help: &str, labels: &[&str]) -> $kind {
            let metric: $kind = ($make)(name, help, labels);
            self.register(&metric);
            metric
        }
    )+ };
}

/// Seconds, from half a millisecond to a minute.
const SECONDS: [f64; 16] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

impl Registry {
    plain! {
        /// Something that only grows.
        counter -> IntCounter { |name, help| must(IntCounter::new(name, help)) }
        /// A whole number that goes up and down.
        gauge -> IntGauge { |name, help| must(IntGauge::new(name, help)) }
        /// A ratio or another broken number.
        ratio -> Gauge { |name, help| must(Gauge::new(name, help)) }
        /// How long something took, in seconds.
        seconds -> Histogram { |name, help| must(Histogram::with_opts(HistogramOpts::new(name, help).buckets(SECONDS.to_vec()))) }
        /// How many at once, from 1 to 1,000.
        sizes -> Histogram { |name, help| must(Histogram::with_opts(HistogramOpts::new(name, help).buckets(vec![1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0]))) }
    }

    labelled! {
        /// Things that only grow.
        counters -> IntCounterVec { |name, help, labels| must(IntCounterVec::new(Opts::new(name, help), labels)) }
        /// Time that only grows, in seconds.
        durations -> CounterVec { |name, help, labels| must(CounterVec::new(Opts::new(name, help), labels)) }
        /// Whole numbers that go up and down.
        gauges -> IntGaugeVec { |name, help, labels| must(IntGaugeVec::new(Opts::new(name, help), labels)) }
        /// Broken numbers.
        ratios -> GaugeVec { |name, help, labels| must(GaugeVec::new(Opts::new(name, help), labels)) }
        /// How long things took, in seconds.
        seconds_by -> HistogramVec { |name, help, labels| must(HistogramVec::new(HistogramOpts::new(name, help).buckets(SECONDS.to_vec()), labels)) }
    }

    /// How much of its memory the process uses: every binary's, and one of its parts keeps it.
    ///
    /// # Panics
    /// When two do.
    #[must_use]
    pub fn memory_used(&self) -> Gauge {
        self.ratio("headworks_memory_used_ratio", "Working set over the memory limit, 0 to 1.")
    }

    fn register(&self, metric: &(impl prometheus::core::Collector + Clone + 'static)) {
        must(self.0.register(Box::new(metric.clone())));
    }

    /// Looks before each rendering; must not block.
    pub fn before_render(&self, look: impl Fn() + Send + Sync + 'static) {
        self.looks().push(Box::new(look));
    }

    fn looks(&self) -> MutexGuard<'_, Vec<Look>> {
        self.1.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All metrics in the Prometheus text format.
    pub fn render(&self) -> String {
        self.looks().iter().for_each(|look| look());
        let mut text = Vec::new();
        must(TextEncoder::new().encode(&self.0.gather(), &mut text));
        String::from_utf8_lossy(&text).into_owned()
    }

    /// (name, type, help, labels) of every metric, for `docs/metrics.md`.
    pub fn describe(&self) -> Vec<(String, String, String, Vec<String>)> {
        let describe = |family: &prometheus::proto::MetricFamily| {
            let labels = family
                .get_metric()
                .first()
                .map(|metric| metric.get_label().iter().map(|label| label.name().to_owned()).collect());
            (
                family.name().to_owned(),
                format!("{:?}", family.get_field_type()).to_lowercase(),
                family.help().to_owned(),
                labels.unwrap_or_default(),
            )
        };
        self.0.gather().iter().map(describe).collect()
    }
}

#[expect(
    clippy::panic,
    reason = "a malformed or doubled metric is a mistake in the program, found by every test that starts it"
)]
fn must<T>(result: prometheus::Result<T>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("metric: {error}"),
    }
}
