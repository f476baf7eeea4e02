//! W6, a burst: 5,000 clients come at once to a Headworks that is made for 500, and come back for as long as they are told to. Who is
//! refused is told so at once, those who are let in are served as if nobody else were there, and when it is over all is as before.

mod table;

use std::{fmt, time::Duration};

use clap::ValueEnum;
use tokio::{runtime, task::spawn_blocking};

pub(crate) use self::table::{plot, table};
use crate::{
    load::{self, Loaded, Pace, Plan, Remembered},
    measure::{Peak, peak_during},
    subjects::{Contender, Intake, Paths, Place, Running, Size, Started, Subject},
    warm::warm,
};

/// How many uploads at once, and jobs, Headworks is made for.
const SIZE: u64 = 500;

/// How many clients come.
const CLIENTS: usize = 5_000;

/// The size of each body, in bytes: more than is read in one piece.
const BODY: u64 = 64 << 10;

/// How long the clients go on, without and with the burst.
const LOAD: Duration = Duration::from_secs(10);

/// What is stored in each load, about, in bytes.
const STORED: u64 = 7 << 30;

/// Within this time all clients have come: as fast as the generator can send and still see answers when they come.
const COMING: Duration = Duration::from_millis(500);

/// The longest time for Headworks to work off its queue.
const PATIENCE: Duration = Duration::from_mins(1);

/// How long it is looked at afterwards.
const AFTER: Duration = Duration::from_secs(10);

/// What a probe sends, in bytes.
const PROBE_BODY: u64 = 10_240;
/// How many there are a second.
const PROBES_PER_SECOND: u32 = 100;

/// As normal as before is a probe that takes no longer than this, or twice the slowest in a hundred before the burst.
const NORMAL: Duration = Duration::from_millis(20);

/// What a client does with its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Manners {
    /// It waits for `100 Continue` before it sends it, as curl does.
    Waits,
    /// It sends it at once.
    Pushes,
}

impl Manners {
    fn short(self) -> &'static str {
        match self {
            Self::Waits => "waiting",
            Self::Pushes => "pushing",
        }
    }
}

impl fmt::Display for Manners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Waits => "bodies wait for 100 Continue",
            Self::Pushes => "bodies are sent at once",
        })
    }
}

/// One run.
#[derive(Debug)]
pub(crate) struct Sample {
    /// As many clients as it is made for.
    unburdened: (Loaded, Peak),
    /// Small uploads beside them.
    before: Loaded,
    /// Ten times as many.
    burst: (Loaded, Peak),
    /// Small uploads beside those, and afterwards.
    probes: Loaded,
    /// From the end of the burst until it was as before; `None` when it was not.
    normal_again: Option<Duration>,
}

/// Runs it once, each load with a fresh Headworks.
///
/// # Errors
/// When Headworks does not start, or does not work off its queue.
pub(crate) async fn once(manners: Manners, paths: &Paths) -> anyhow::Result<Sample> {
    warm(STORED)?;
    let (unburdened, before) = unburdened(manners, paths).await?;
    let started = start(paths).await?;
    let subject = &started.running;
    let alone = probes(subject.intake, Duration::from_secs(2)).await?;
    let normal = NORMAL.max(Duration::from_secs_f64(alone.tally.latency_ms(0.99) / 1e3) * 2);

    let many = load::ready(plan(subject.intake, manners)).await?;
    let beside = probes(subject.intake, LOAD + AFTER);
    let ((burst, peak), probes) = tokio::join!(peak_during(subject.tree(), many.run()), beside);
    let (burst, probes) = ((burst?, peak), probes?);
    let normal_again = normal_from(probes.tally.remembered(), LOAD + AFTER, normal);
    let normal_again = normal_again.map(|from| from.saturating_sub(LOAD));
    settled(subject, &[&alone, &burst.0, &probes]).await?;
    Ok(Sample { unburdened, before, burst, probes, normal_again })
}

/// As many clients as it is made for, and small uploads beside them, so that these are not what differs in the burst.
async fn unburdened(manners: Manners, paths: &Paths) -> anyhow::Result<((Loaded, Peak), Loaded)> {
    let started = start(paths).await?;
    let subject = &started.running;
    let few = Plan { connections: usize::try_from(SIZE)?, ..plan(subject.intake, manners) };
    let few = load::ready(few).await?;
    let beside = probes(subject.intake, LOAD);
    let ((loaded, peak), beside) = tokio::join!(peak_during(subject.tree(), few.run()), beside);
    let (loaded, beside) = (loaded?, beside?);
    settled(subject, &[&loaded, &beside]).await?;
    Ok(((loaded, peak), beside))
}

async fn start(paths: &Paths) -> anyhow::Result<Started> {
    Contender { subject: Subject::Headworks, place: Place::Memory }.start_with(paths, Size::Only(SIZE)).await
}

/// All that was acknowledged has its row.
async fn settled(subject: &Running, loads: &[&Loaded]) -> anyhow::Result<()> {
    let acknowledged = loads.iter().map(|load| load.tally.acknowledged()).sum();
    subject.settled(acknowledged, PATIENCE).await.map(drop)
}

fn plan(intake: Intake, manners: Manners) -> Plan {
    Plan {
        opens_first: true,
        spread: COMING,
        expects: manners == Manners::Waits,
        duration: LOAD,
        obeys: true,
        ..Plan::put(intake.at, CLIENTS, BODY)
    }
}

/// Small uploads, from a thread of their own: what they wait for is Headworks, and not the turn of five thousand others in the generator.
async fn probes(intake: Intake, duration: Duration) -> anyhow::Result<Loaded> {
    let pace = Pace::Open { per_second: f64::from(PROBES_PER_SECOND) };
    let plan =
        Plan { pace, duration, remembers: true, opens_first: true, ..Plan::put(intake.at, 32, PROBE_BODY) };
    let thread =
        move || runtime::Builder::new_current_thread().enable_all().build()?.block_on(load::run(plan));
    spawn_blocking(thread).await?
}

/// From which moment on all probes were taken within `normal`, of those that were due in `duration`; `None` when the last was not.
fn normal_from(good: &[Remembered], duration: Duration, normal: Duration) -> Option<Duration> {
    let mut well: Vec<u64> =
        good.iter().filter(|probe| probe.took <= normal).map(|probe| probe.turn).collect();
    well.sort_unstable();
    let due = 0..u64::from(PROBES_PER_SECOND) * duration.as_secs();
    let first = due.rev().zip(well.iter().rev()).take_while(|(due, turn)| due == *turn).last()?.0;
    Some(Duration::from_secs_f64(first as f64 / f64::from(PROBES_PER_SECOND)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(turn: u64, took_ms: u64) -> Remembered {
        Remembered { turn, at_us: 0, took: Duration::from_millis(took_ms) }
    }

    #[test]
    fn it_is_normal_again_after_the_last_probe_that_was_refused_or_slow() {
        let last = 10 * u64::from(PROBES_PER_SECOND) - 1;
        let all = || (0..=last).map(|turn| probe(turn, 5));
        let from = |good: Vec<Remembered>| {
            normal_from(&good, Duration::from_secs(10), NORMAL).map(|from| from.as_secs_f64())
        };
        assert_eq!(from(all().collect()), Some(0.0));
        assert_eq!(from(all().filter(|it| it.turn != 99).collect()), Some(1.0));
        assert_eq!(from(all().filter(|it| it.turn != 199).chain([probe(199, 400)]).collect()), Some(2.0));
        assert_eq!(from(all().filter(|it| it.turn != last).collect()), None);
        assert_eq!(from(Vec::new()), None);
    }
}
