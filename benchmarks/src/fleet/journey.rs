//! An upload's whole way: ingest, an S3 server, Redis, a processor, and its row. How many a second, and how long after the answer the
//! row is there.

use std::{collections::HashMap, fmt, time::Duration};

use anyhow::Context as _;
use hdrhistogram::Histogram;
use tokio::time::{Instant, sleep};
use tokio_postgres::Client;

use super::{Fleet, Programs, Store, s3};
use crate::{
    load::{self, Framing, Plan, Tally},
    measure::own_cpu_seconds,
    page::{median, spread},
    subjects::process::Process,
};

/// The size of each body, in bytes.
const BODY: u64 = 10_240;

/// How many clients there are, each with one upload after the other.
const CLIENTS: usize = 64;

/// How long they go on.
const LOAD: Duration = Duration::from_secs(20);

/// The longest time for the last rows after it.
const PATIENCE: Duration = Duration::from_mins(2);

/// How often the rows are counted after it.
const LOOK: Duration = Duration::from_millis(25);

/// What holds the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bytes {
    /// A server that speaks S3.
    S3,
    /// Files.
    Files,
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::S3 => "S3 (s3s-fs)",
            Self::Files => "files",
        })
    }
}

/// What is sent where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    /// Where the bytes go.
    pub(crate) bytes: Bytes,
    /// So many uploads at once, and no more of them; else a load that goes on.
    pub(crate) burst: Option<usize>,
}

impl Way {
    /// All that are measured.
    pub(crate) const ALL: [Self; 6] = [
        Self { bytes: Bytes::S3, burst: None },
        Self { bytes: Bytes::Files, burst: None },
        Self { bytes: Bytes::S3, burst: Some(30) },
        Self { bytes: Bytes::S3, burst: Some(50) },
        Self { bytes: Bytes::Files, burst: Some(30) },
        Self { bytes: Bytes::Files, burst: Some(50) },
    ];
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bytes, burst } = self;
        match burst {
            Some(uploads) => write!(f, "{bytes}, {uploads} at once"),
            None => bytes.fmt(f),
        }
    }
}

/// One run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    uploads: f64,
    errors: f64,
    /// From the first request until the last row.
    seconds: f64,
    answered_p99_ms: f64,
    lag_p50_ms: f64,
    lag_p99_ms: f64,
    ingest: f64,
    processor: f64,
    servers: f64,
    generator: f64,
}

/// Runs it once.
///
/// # Errors
/// When something does not start, or a row is missing in the end.
pub(crate) async fn once(way: Way, programs: &Programs) -> anyhow::Result<Sample> {
    let folder = tempfile::Builder::new().prefix("headworks-bench-").tempdir_in("/dev/shm")?;
    let bucket = match way.bytes {
        Bytes::S3 => Some(s3(programs, folder.path()).await?),
        Bytes::Files => None,
    };
    let store = bucket.as_ref().map_or(Store::Files(folder.path()), |(_, address)| Store::S3(*address));
    let fleet = Fleet::start(programs, store).await?;
    let (ingest, address) = fleet.ingest().await?;
    let mut processor = fleet.processor()?;
    let servers = || {
        let bucket = bucket.as_ref().map_or(Ok(0.0), |(process, _)| process.tree().cpu_seconds());
        anyhow::Ok((fleet.redis.cpu()? + fleet.postgres.cpu()?).as_secs_f64() + bucket?)
    };
    let before = (ingest.tree().cpu_seconds()?, servers()?, own_cpu_seconds()?);
    let begun = Instant::now();
    let loaded = load::run(plan(address, way.burst)).await?;
    let generator = own_cpu_seconds()? - before.2;
    let database = fleet.postgres.connect(&fleet.database).await?;
    let acknowledged = loaded.tally.acknowledged();
    rows(&database, acknowledged, &mut processor).await?;
    let seconds = begun.elapsed().as_secs_f64();
    let lag = lags(&database, &loaded.tally).await?;
    let ms = |quantile| lag.value_at_quantile(quantile) as f64 / 1e3;
    Ok(Sample {
        uploads: acknowledged as f64,
        errors: loaded.tally.errors().values().sum::<u64>() as f64,
        seconds,
        answered_p99_ms: loaded.tally.latency_ms(0.99),
        lag_p50_ms: ms(0.5),
        lag_p99_ms: ms(0.99),
        ingest: ingest.tree().cpu_seconds()? - before.0,
        processor: processor.tree().cpu_seconds()?,
        servers: servers()? - before.1,
        generator,
    })
}

fn plan(target: std::net::SocketAddr, burst: Option<usize>) -> Plan {
    Plan {
        target,
        prefix: "/v1/files/up".into(),
        projects: 0,
        connections: burst.unwrap_or(CLIENTS),
        body_bytes: BODY,
        framing: Framing::Length,
        trickle: None,
        duration: LOAD,
        requests: burst.map_or(u64::MAX, |uploads| uploads as u64),
        deadline: Duration::from_secs(30),
        remembers: true,
    }
}

/// Waits until all rows are there.
async fn rows(database: &Client, acknowledged: u64, processor: &mut Process) -> anyhow::Result<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        let stored: i64 =
            database.query_one("SELECT coalesce(sum(objects), 0)::bigint FROM scopes", &[]).await?.get(0);
        if u64::try_from(stored)? >= acknowledged {
            return Ok(());
        }
        processor.is_alive().context("the processor ended")?;
        anyhow::ensure!(Instant::now() < until, "only {stored} of {acknowledged} rows are there");
        sleep(LOOK).await;
    }
}

/// From each upload's answer to its row's commit, in microseconds; a row that was there before the answer was read counts as 1.
async fn lags(database: &Client, tally: &Tally) -> anyhow::Result<Histogram<u64>> {
    const COMMITTED: &str =
        "SELECT path, (extract(epoch FROM pg_xact_commit_timestamp(xmin)) * 1000000)::bigint FROM objects";
    let mut committed = HashMap::new();
    for row in database.query(COMMITTED, &[]).await? {
        let (path, at): (&str, i64) = (row.get(0), row.get(1));
        let turn: u64 = path.rsplit('/').next().unwrap_or_default().parse()?;
        committed.insert(turn, u64::try_from(at)?);
    }
    let mut lags = Histogram::new(3)?;
    for (turn, at) in tally.remembered() {
        let committed = committed.get(turn).with_context(|| format!("upload {turn} has no row"))?;
        lags.record(committed.saturating_sub(*at).max(1))?;
    }
    Ok(lags)
}

/// The table of all runs' medians.
pub(crate) fn table(all: &[(Way, Vec<Sample>)]) -> String {
    let mut table = String::from(
        "| bytes in | uploads/s to the row | least–most | s to the last row | 201 p99 ms | 201 to row p50 ms | p99 ms | errors | CPU s / 1,000: ingest | processor | servers | generator |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for (way, samples) in all {
        let each = |value: fn(&Sample) -> f64| median(samples, |it| value(it) / it.uploads * 1e3);
        table += &format!(
            "| {way} | {:.0} | {} | {:.2} | {:.1} | {:.1} | {:.1} | {:.0} | {:.3} | {:.3} | {:.3} | {:.3} |\n",
            median(samples, |it| it.uploads / it.seconds),
            spread(samples.iter().map(|it| it.uploads / it.seconds)),
            median(samples, |it| it.seconds),
            median(samples, |it| it.answered_p99_ms),
            median(samples, |it| it.lag_p50_ms),
            median(samples, |it| it.lag_p99_ms),
            samples.iter().map(|it| it.errors).sum::<f64>(),
            each(|it| it.ingest),
            each(|it| it.processor),
            each(|it| it.servers),
            each(|it| it.generator),
        );
    }
    table
}
