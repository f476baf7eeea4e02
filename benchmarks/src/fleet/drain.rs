//! How fast jobs that wait become rows: ledger, object, usage and outbox, each job's upload in one transaction with others or alone.

use std::{fmt, time::Duration};

use anyhow::Context as _;
use clap::ValueEnum;
use tokio::time::Instant;
use tokio_postgres::Client;

use super::{Fleet, Programs, Store, ceiling, peers, rows};
use crate::{
    load::{self, Plan},
    page::{median, spread},
    plot::{Panel, Plot},
};

/// How many jobs wait.
pub(crate) const JOBS: u64 = 50_000;

/// Into how many projects they are dealt.
pub(crate) const PROJECTS: u64 = 50;

/// The longest time for all of them.
pub(super) const PATIENCE: Duration = Duration::from_mins(5);

/// Who works the jobs off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Worker {
    /// One headworks-processor.
    Headworks,
    /// One BullMQ worker, a transaction for each job.
    BullmqEach,
    /// One BullMQ worker, which gathers batches of its own.
    BullmqBatches,
    /// One arq worker, a transaction for each job.
    ArqEach,
    /// One arq worker, which gathers batches of its own.
    ArqBatches,
    /// `XREADGROUP` and `COPY` into one table, and nothing else: what Redis and PostgreSQL can do at most.
    Ceiling,
}

impl fmt::Display for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Headworks => "Headworks processor",
            Self::BullmqEach => "BullMQ, one transaction per job",
            Self::BullmqBatches => "BullMQ, own batches",
            Self::ArqEach => "arq, one transaction per job",
            Self::ArqBatches => "arq, own batches",
            Self::Ceiling => "bare XREADGROUP + COPY, one table",
        })
    }
}

/// One run of one worker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// From the worker's start until the last row was there.
    pub seconds: f64,
    /// CPU seconds of the worker.
    pub worker: f64,
    /// CPU seconds of Redis.
    pub redis: f64,
    /// CPU seconds of PostgreSQL.
    pub postgres: f64,
}

impl Sample {
    fn rate(&self) -> f64 {
        JOBS as f64 / self.seconds
    }

    fn cpu(&self) -> f64 {
        self.worker + self.redis + self.postgres
    }
}

/// Why a worker cannot run here, if it cannot.
pub(crate) fn missing(worker: Worker) -> Option<String> {
    peers::Peer::of(worker).and_then(peers::Peer::missing)
}

/// Runs one worker once, on servers of its own.
///
/// # Errors
/// When something does not start, or rows are missing in the end.
pub(crate) async fn once(worker: Worker, programs: &Programs) -> anyhow::Result<Sample> {
    let folder = tempfile::Builder::new().prefix("headworks-bench-").tempdir_in("/dev/shm")?;
    let fleet = Fleet::start(programs, Store::Files(folder.path())).await?;
    if worker == Worker::Ceiling {
        return ceiling::once(&fleet).await;
    }
    let peer = peers::Peer::of(worker);
    preload(&fleet, peer).await?;
    let database = fleet.postgres.connect(&fleet.database).await?;
    let (redis, postgres) = (fleet.redis.cpu()?, fleet.postgres.cpu()?);
    let begun = Instant::now();
    let mut process = match peer {
        Some(peer) => peer.work(&fleet)?,
        None => fleet.processor()?,
    };
    rows::all_stored(&database, JOBS, PATIENCE, || process.is_alive().context("the worker ended")).await?;
    let sample = Sample {
        seconds: begun.elapsed().as_secs_f64(),
        worker: process.tree().cpu_seconds()?,
        redis: (fleet.redis.cpu()? - redis).as_secs_f64(),
        postgres: (fleet.postgres.cpu()? - postgres).as_secs_f64(),
    };
    drop(process);
    nothing_is_missing(&database).await?;
    Ok(sample)
}

/// Puts the jobs on the queue, and their tables into the database.
pub(super) async fn preload(fleet: &Fleet, peer: Option<peers::Peer>) -> anyhow::Result<()> {
    let (ingest, address) = fleet.ingest().await?;
    if let Some(peer) = peer {
        drop(ingest);
        return peer.preload(fleet);
    }
    let prefix = "/v1/files/2026/11/21".into();
    let plan = Plan { prefix, projects: PROJECTS, requests: JOBS, ..Plan::put(address, 64, 1024) };
    let loaded = load::run(plan).await?;
    let queued = loaded.tally.acknowledged();
    anyhow::ensure!(queued == JOBS, "only {queued} of {JOBS} are queued: {:?}", loaded.tally.errors());
    Ok(())
}

/// Each table has its row of each job.
pub(super) async fn nothing_is_missing(database: &Client) -> anyhow::Result<()> {
    for table in ["ledger", "objects", "events"] {
        let rows: i64 = database.query_one(&format!("SELECT count(*) FROM {table}"), &[]).await?.get(0);
        anyhow::ensure!(u64::try_from(rows)? == JOBS, "{table} has {rows} rows");
    }
    Ok(())
}

/// The table of all workers' medians.
pub(crate) fn table(all: &[(Worker, Vec<Sample>)]) -> String {
    let per_cpu = |sample: &Sample| JOBS as f64 / sample.cpu();
    let base = all.iter().find(|(worker, _)| *worker == Worker::BullmqEach);
    let base = base.map(|(_, samples)| (median(samples, Sample::rate), median(samples, per_cpu)));
    let mut table = String::from(
        "| worker | jobs/s | least–most | to BullMQ | jobs per CPU s | to BullMQ | CPU s: worker | Redis | PostgreSQL |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for (worker, samples) in all {
        let (rate, cost) = (median(samples, Sample::rate), median(samples, per_cpu));
        let ratio =
            |value: f64, base: Option<f64>| base.map_or("–".into(), |base| format!("{:.1}", value / base));
        table += &format!(
            "| {worker} | {rate:.0} | {} | {} | {cost:.0} | {} | {:.2} | {:.2} | {:.2} |\n",
            spread(samples.iter().map(Sample::rate)),
            ratio(rate, base.map(|(rate, _)| rate)),
            ratio(cost, base.map(|(_, cost)| cost)),
            median(samples, |sample| sample.worker),
            median(samples, |sample| sample.redis),
            median(samples, |sample| sample.postgres),
        );
    }
    table
}

/// The rates, as a picture.
pub(crate) fn plot(all: &[(Worker, Vec<Sample>)]) -> Plot {
    let panels = vec![
        Panel::of("jobs/s", all, Sample::rate),
        Panel::of("jobs per CPU s, servers included", all, |sample| JOBS as f64 / sample.cpu()),
    ];
    Plot { name: "drain".into(), title: "Drain rate".into(), panels }
}
