//! Which program this is: what tells versions of a fleet apart, and who is there at all, before anything else has begun.

use super::metrics::Registry;

/// Shows it.
pub fn show(registry: &Registry, binary: &str) {
    let info = registry.gauges(
        "headworks_build_info",
        "1, for the program that runs: its name and version.",
        &["binary", "version"],
    );
    info.with_label_values(&[binary, env!("CARGO_PKG_VERSION")]).set(1);
}
