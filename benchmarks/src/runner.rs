//! Runs the contenders in a scenario: each time a fresh process, the load, and what it took.

use std::{
    collections::BTreeMap,
    io::{Write as _, stderr},
    time::Duration,
};

use anyhow::Context as _;

use crate::{
    load::{self, Loaded},
    measure::{Peak, own_cpu_seconds, peak_during},
    scenario::Scenario,
    subjects::{Contender, Paths, Running},
    turns,
    warm::warm,
};

/// The longest time for a subject to work off its queue after a load.
const SETTLE: Duration = Duration::from_mins(5);

/// One run of one contender.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// How many requests were acknowledged.
    pub acknowledged: u64,
    /// How many bytes of bodies they had.
    pub bytes: u64,
    /// From the first request to the last answer.
    pub seconds: f64,
    /// The latency that half of the acknowledged requests did not exceed.
    pub p50_ms: f64,
    /// The latency that 99 % of them did not exceed.
    pub p99_ms: f64,
    /// What was not acknowledged, by status or kind of failure.
    pub errors: BTreeMap<String, u64>,
    /// CPU seconds of the subject, with what it did after the load.
    pub cpu_seconds: f64,
    /// CPU seconds of the load generator.
    pub own_cpu_seconds: f64,
    /// The most memory that was in use.
    pub peak: Peak,
    /// How long the subject worked off its queue after the last answer.
    pub settled_seconds: Option<f64>,
}

/// All runs of one contender in one scenario.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    /// Who ran.
    pub contender: Contender,
    /// One for each repetition.
    pub samples: Vec<Sample>,
}

/// Runs `scenario` `repetitions` times with each of the contenders.
///
/// # Errors
/// When a contender does not start, or ends during its run.
pub(crate) async fn run(
    scenario: &Scenario,
    contenders: &[Contender],
    repetitions: u16,
    paths: &Paths,
) -> anyhow::Result<Vec<Series>> {
    writeln!(stderr(), "{}", scenario.name)?;
    let all = turns::take(contenders, repetitions, async |who| once(scenario, who, paths).await).await?;
    Ok(all.into_iter().map(|(contender, samples)| Series { contender, samples }).collect())
}

async fn once(scenario: &Scenario, contender: Contender, paths: &Paths) -> anyhow::Result<Sample> {
    warm(scenario.bytes())?;
    let started = contender.start(paths).await?;
    let subject = &started.running;
    let before = subject.tree().cpu_seconds()?;
    let (outcome, peak) = peak_during(subject.tree(), load_and_settle(scenario, subject)).await;
    let Outcome { loaded, own_cpu_seconds, settled } = outcome?;
    let cpu_seconds = subject.tree().cpu_seconds().context("it ended during the load")? - before;
    let acknowledged = loaded.tally.acknowledged();
    Ok(Sample {
        acknowledged,
        bytes: acknowledged * scenario.body_bytes,
        seconds: loaded.took.as_secs_f64(),
        p50_ms: loaded.tally.latency_ms(0.5),
        p99_ms: loaded.tally.latency_ms(0.99),
        errors: loaded.tally.errors(),
        cpu_seconds,
        own_cpu_seconds,
        peak,
        settled_seconds: settled.map(|settled| settled.as_secs_f64()),
    })
}

struct Outcome {
    loaded: Loaded,
    own_cpu_seconds: f64,
    settled: Option<Duration>,
}

async fn load_and_settle(scenario: &Scenario, subject: &Running) -> anyhow::Result<Outcome> {
    let before = own_cpu_seconds()?;
    let loaded = load::run(scenario.plan(&subject.intake)).await?;
    let own_cpu_seconds = own_cpu_seconds()? - before;
    let settled = subject.settled(loaded.tally.acknowledged(), SETTLE).await?;
    Ok(Outcome { loaded, own_cpu_seconds, settled })
}
