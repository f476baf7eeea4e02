//! How fast jobs that wait become rows with one processor and with more, beside each other on the same servers.

use std::fmt;

use anyhow::Context as _;
use tokio::time::Instant;

use super::{
    Fleet, Programs, Store,
    drain::{self, JOBS, PATIENCE},
    rows,
};
use crate::{
    page::{median, spread},
    subjects::process::Process,
};

/// How many processors there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Processors(usize);

impl Processors {
    /// What is measured.
    pub(crate) const ALL: [Self; 3] = [Self(1), Self(2), Self(4)];
}

impl fmt::Display for Processors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// One run.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// From the start of the processors until the last row was there.
    seconds: f64,
    /// CPU seconds of all processors, of Redis, and of PostgreSQL.
    cpu: [f64; 3],
    /// The part of the CPU seconds of all processors that the least busy one has used, times how many they are.
    evenness: f64,
}

impl Sample {
    fn rate(&self) -> f64 {
        JOBS as f64 / self.seconds
    }

    /// How many cores were busy.
    fn cores(&self) -> f64 {
        self.cpu.iter().sum::<f64>() / self.seconds
    }
}

/// Runs so many processors once, on servers of their own.
///
/// # Errors
/// When something does not start, or rows are missing in the end.
pub(crate) async fn once(Processors(count): Processors, programs: &Programs) -> anyhow::Result<Sample> {
    let folder = tempfile::Builder::new().prefix("headworks-bench-").tempdir_in("/dev/shm")?;
    let fleet = Fleet::start(programs, Store::Files(folder.path())).await?;
    drain::preload(&fleet, None).await?;
    let database = fleet.postgres.connect(&fleet.database).await?;
    let (redis, postgres) = (fleet.redis.cpu()?, fleet.postgres.cpu()?);
    let begun = Instant::now();
    let mut processors = (0..count).map(|_| fleet.processor()).collect::<Result<Vec<_>, _>>()?;
    let alive = || processors.iter_mut().try_for_each(Process::is_alive).context("a processor ended");
    rows::all_stored(&database, JOBS, PATIENCE, alive).await?;
    let seconds = begun.elapsed().as_secs_f64();
    let used = processors.iter().map(|one| one.tree().cpu_seconds()).collect::<Result<Vec<_>, _>>()?;
    let (all, least) = (used.iter().sum::<f64>(), used.iter().copied().fold(f64::INFINITY, f64::min));
    let sample = Sample {
        seconds,
        cpu: [
            all,
            (fleet.redis.cpu()? - redis).as_secs_f64(),
            (fleet.postgres.cpu()? - postgres).as_secs_f64(),
        ],
        evenness: least * count as f64 / all,
    };
    drop(processors);
    drain::nothing_is_missing(&database).await?;
    Ok(sample)
}

/// The table of the medians.
pub(crate) fn table(all: &[(Processors, Vec<Sample>)]) -> String {
    let one = all.first().map_or(f64::NAN, |(_, samples)| median(samples, Sample::rate));
    let mut table = String::from(
        "| processors | jobs/s | least–most | to one | cores busy | CPU s: processors | Redis | PostgreSQL | evenness |\n\
         |---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for (processors, samples) in all {
        let rate = median(samples, Sample::rate);
        let cpu = [0, 1, 2].map(|part| median(samples, |sample| sample.cpu[part]));
        table += &format!(
            "| {processors} | {rate:.0} | {} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} |\n",
            spread(samples.iter().map(Sample::rate)),
            rate / one,
            median(samples, Sample::cores),
            cpu[0],
            cpu[1],
            cpu[2],
            median(samples, |sample| sample.evenness),
        );
    }
    table
}
