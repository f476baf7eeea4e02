//! W6, a burst: 5,000 clients come at once to a Headworks that is made for 500, and come back for as long as they are told to. Who is
//! refused is told so at once, those who are let in are served as if nobody else were there, and when it is over all is as before.

mod table;

use std::{fmt, time::Duration};

use clap::ValueEnum;

pub(crate) use self::table::{plot, table};
use crate::{
    load::{self, Loaded, Pace, Plan, Remembered},
    measure::{Peak, peak_during},
    subjects::{Contender, Intake, Paths, Place, Running, Size, Subject},
};

/// How many uploads at once, and jobs, Headworks is made for.
const SIZE: u64 = 500;

/// How many clients come.
const CLIENTS: usize = 5_000;

/// The size of each body, in bytes: more than is read in one piece.
const BODY: u64 = 256 << 10;

/// How long the clients go on, without and with the burst.
const LOAD: Duration = Duration::from_secs(10);

/// Within this time all clients have come: as fast as the generator can send and still see answers when they come.
const COMING: Duration = Duration::from_millis(500);

/// The longest time for Headworks to work off its queue.
const PATIENCE: Duration = Duration::from_mins(1);

/// Small uploads, so many a second, show how Headworks is.
const PROBES_PER_SECOND: f64 = 50.0;
const PROBES: u64 = 500;
const PROBE_BODY: u64 = 10_240;

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
    /// Ten times as many.
    burst: (Loaded, Peak),
    /// From the end of the burst until it was as before; `None` when it was not.
    normal_again: Option<Duration>,
}

/// Runs it once.
///
/// # Errors
/// When Headworks does not start, or does not work off its queue.
pub(crate) async fn once(manners: Manners, paths: &Paths) -> anyhow::Result<Sample> {
    let contender = Contender { subject: Subject::Headworks, place: Place::Memory };
    let started = contender.start_with(paths, Size::Only(SIZE)).await?;
    let subject = &started.running;
    let before = probes(subject.intake, PROBES / 5).await?;
    let normal = NORMAL.max(Duration::from_secs_f64(before.tally.latency_ms(0.99) / 1e3) * 2);

    let few = Plan { connections: usize::try_from(SIZE)?, ..plan(subject.intake, manners) };
    let unburdened = offer(subject, few).await?;
    subject.settled(before.tally.acknowledged() + unburdened.0.tally.acknowledged(), PATIENCE).await?;
    let burst = offer(subject, plan(subject.intake, manners)).await?;
    let late = burst.0.took.saturating_sub(LOAD);
    let after = probes(subject.intake, PROBES).await?;
    let normal_again = abnormal(after.tally.remembered(), normal).map(|rest| late + rest);
    Ok(Sample { unburdened, burst, normal_again })
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

async fn offer(subject: &Running, plan: Plan) -> anyhow::Result<(Loaded, Peak)> {
    let (loaded, peak) = peak_during(subject.tree(), load::run(plan)).await;
    Ok((loaded?, peak))
}

async fn probes(intake: Intake, requests: u64) -> anyhow::Result<Loaded> {
    let pace = Pace::Open { per_second: PROBES_PER_SECOND };
    let plan =
        Plan { pace, requests, remembers: true, opens_first: true, ..Plan::put(intake.at, 16, PROBE_BODY) };
    load::run(plan).await
}

/// How long probes were refused, or slower than `normal`: until the first after which all were well. `None` when the last was not.
fn abnormal(good: &[Remembered], normal: Duration) -> Option<Duration> {
    let mut well: Vec<u64> =
        good.iter().filter(|probe| probe.took <= normal).map(|probe| probe.turn).collect();
    well.sort_unstable();
    let first = (0..PROBES).rev().zip(well.iter().rev()).take_while(|(due, turn)| due == *turn).last()?.0;
    Some(Duration::from_secs_f64(first as f64 / PROBES_PER_SECOND))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(turn: u64, took_ms: u64) -> Remembered {
        Remembered { turn, at_us: 0, took: Duration::from_millis(took_ms) }
    }

    #[test]
    fn it_is_normal_again_after_the_last_probe_that_was_refused_or_slow() {
        let all = || (0..PROBES).map(|turn| probe(turn, 5));
        let seconds = |good: Vec<Remembered>| abnormal(&good, NORMAL).map(|rest| rest.as_secs_f64());
        assert_eq!(seconds(all().collect()), Some(0.0));
        assert_eq!(seconds(all().filter(|probe| probe.turn != 49).collect()), Some(1.0));
        assert_eq!(seconds(all().filter(|it| it.turn != 99).chain([probe(99, 400)]).collect()), Some(2.0));
        assert_eq!(seconds(all().filter(|probe| probe.turn != PROBES - 1).collect()), None);
        assert_eq!(seconds(Vec::new()), None);
    }
}
