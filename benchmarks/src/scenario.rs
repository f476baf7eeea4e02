//! The scenarios: what is sent, read from `benchmarks/scenarios/*.toml`.

use std::{fs, path::Path, time::Duration};

use anyhow::Context as _;
use serde::Deserialize;

use crate::{
    load::{Framing, Pace, Plan, Protocol},
    subjects::{Intake, Place},
};

/// What a scenario's throughput and cost are counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unit {
    /// Requests a second, and CPU seconds for 1,000 of them.
    Requests,
    /// MB (10^6 bytes) a second, and CPU seconds for a GB (10^9 bytes).
    Bytes,
}

/// One kind of load.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    /// What it is called on the command line.
    pub name: String,
    /// What it is, for the report.
    pub title: String,
    /// What its figures are counted in.
    pub unit: Unit,
    connections: usize,
    /// HTTP/2, with so many of these connections as streams of one; HTTP/1.1, if nothing is said.
    #[serde(default)]
    streams_per_connection: Option<usize>,
    /// The size of each body.
    pub body_bytes: u64,
    framing: Framing,
    /// How many requests a second are due, whatever became of the earlier ones; one after the other on each connection, if nothing is said.
    #[serde(default)]
    rate_per_s: Option<f64>,
    /// Whether all connections are opened, one after the other, before the first request; so it is for a rate in any case.
    #[serde(default)]
    opens_first: bool,
    /// How long each body takes; as fast as it is taken, if nothing is said.
    #[serde(default)]
    trickle_s: Option<u64>,
    /// Where it runs; everywhere, if nothing is said.
    #[serde(default)]
    places: Option<Vec<Place>>,
    duration_s: u64,
    requests: u64,
    deadline_s: u64,
}

impl Scenario {
    /// What is to be sent there.
    pub(crate) fn plan(&self, intake: &Intake) -> Plan {
        Plan {
            prefix: intake.prefix.to_owned(),
            api: intake.api,
            protocol: self
                .streams_per_connection
                .map_or(Protocol::Http1, |streams| Protocol::Http2 { streams }),
            pace: self.rate_per_s.map_or(Pace::Closed, |per_second| Pace::Open { per_second }),
            opens_first: self.opens_first || self.rate_per_s.is_some(),
            framing: self.framing,
            trickle: self.trickle_s.map(Duration::from_secs),
            duration: Duration::from_secs(self.duration_s),
            requests: self.requests,
            deadline: Duration::from_secs(self.deadline_s),
            ..Plan::put(intake.at, self.connections, self.body_bytes)
        }
    }

    /// The most that is stored of it, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.requests.saturating_mul(self.body_bytes)
    }

    /// Whether it is for this place.
    pub(crate) fn is_for(&self, place: Place) -> bool {
        self.places.as_ref().is_none_or(|places| places.contains(&place))
    }

    fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }
}

/// The scenarios of `folder` in the order of their names: those that are `wanted`, or all if none is.
///
/// # Errors
/// A file that cannot be read or understood, and a wanted name that no file has.
pub(crate) fn load(folder: &Path, wanted: &[String]) -> anyhow::Result<Vec<Scenario>> {
    let mut scenarios = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
            let scenario: Scenario =
                toml::from_str(&text).with_context(|| format!("understand {}", path.display()))?;
            scenarios.push(scenario);
        }
    }
    scenarios.sort_by(|one, other| one.name.cmp(&other.name));
    if let Some(unknown) = wanted.iter().find(|name| !scenarios.iter().any(|known| known.is(name))) {
        let known: Vec<_> = scenarios.iter().map(|known| known.name.as_str()).collect();
        anyhow::bail!("no scenario is called {unknown}; there are {}", known.join(", "));
    }
    scenarios.retain(|known| wanted.is_empty() || wanted.iter().any(|name| known.is(name)));
    Ok(scenarios)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios")
    }

    #[test]
    fn all_scenarios_can_be_read_and_found_by_name() {
        let all = load(&folder(), &[]).unwrap();
        assert!(all.len() >= 2);
        for scenario in &all {
            assert_eq!(load(&folder(), &[scenario.name.to_lowercase()]).unwrap().len(), 1);
        }
    }

    #[test]
    fn a_name_that_no_scenario_has_is_refused() {
        let error = load(&folder(), &["W99".into()]).unwrap_err();
        assert!(error.to_string().contains("there are W1"), "{error}");
    }
}
