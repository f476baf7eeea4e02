//! An upload's whole way: ingest, an S3 server, Redis, a processor, and its row. How many a second, and how long after the answer the
//! row is there.

use std::{collections::HashMap, fmt, net::SocketAddr, path::Path, time::Duration};

use anyhow::Context as _;
use clap::ValueEnum;
use hdrhistogram::Histogram;
use tokio::time::Instant;
use tokio_postgres::Client;

use super::{Fleet, Programs, Store, peers::Peer, rows, s3};
use crate::{
    load::{self, Plan, Remembered, Tally},
    measure::{Tree, mib, own_cpu_seconds, peak_during},
    page::{median, spread},
    plot::{Panel, Plot},
    subjects::process::Process,
    warm::warm,
};

/// The size of each body, in bytes.
const BODY: u64 = 10_240;

/// How many clients there are, each with one upload after the other.
const CLIENTS: usize = 64;

/// How long they go on.
const LOAD: Duration = Duration::from_secs(20);

/// What is stored meanwhile at most, about, in bytes.
const STORED: u64 = 4 << 30;

/// The longest time for the last rows after it: a queue without a bound may be a long one.
const PATIENCE: Duration = Duration::from_mins(10);

/// Who is gone through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Who {
    /// Headworks' fleet, with its bytes at a server that speaks S3.
    HeadworksS3,
    /// Headworks' fleet, with its bytes in files.
    Headworks,
    /// fastify, BullMQ and pg; files.
    Node,
    /// uvicorn, arq and asyncpg; files.
    Python,
}

impl Who {
    fn peer(self) -> Option<Peer> {
        match self {
            Self::HeadworksS3 | Self::Headworks => None,
            Self::Node => Some(Peer::NODE),
            Self::Python => Some(Peer::PYTHON),
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HeadworksS3 => "Headworks, S3 (s3s-fs)",
            Self::Headworks => "Headworks, files",
            Self::Node => "Node pipeline, files",
            Self::Python => "Python pipeline, files",
        })
    }
}

/// What is sent where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    /// Who takes it.
    pub who: Who,
    /// So many uploads at once, and no more of them; else a load that goes on.
    burst: Option<usize>,
}

impl Way {
    /// All that are measured.
    pub(crate) const ALL: [Self; 8] = [
        Self { who: Who::Headworks, burst: None },
        Self { who: Who::Node, burst: None },
        Self { who: Who::Python, burst: None },
        Self { who: Who::HeadworksS3, burst: None },
        Self { who: Who::Headworks, burst: Some(30) },
        Self { who: Who::Headworks, burst: Some(50) },
        Self { who: Who::HeadworksS3, burst: Some(30) },
        Self { who: Who::HeadworksS3, burst: Some(50) },
    ];

    /// Why it cannot be gone here, if it cannot.
    pub(crate) fn missing(self) -> Option<String> {
        self.who.peer().and_then(Peer::missing)
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { who, burst } = self;
        match burst {
            Some(uploads) => write!(f, "{who}, {uploads} at once"),
            None => who.fmt(f),
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
    intake: f64,
    worker: f64,
    servers: f64,
    generator: f64,
    /// The most memory of those that take uploads and of the worker.
    peak_mib: f64,
}

impl Sample {
    fn rate(&self) -> f64 {
        self.uploads / self.seconds
    }
}

/// The processes of a way, but for its servers.
struct Line {
    intake: Process,
    address: SocketAddr,
    worker: Process,
}

impl Line {
    async fn start(who: Who, fleet: &Fleet, folder: &Path) -> anyhow::Result<Self> {
        if let Some(peer) = who.peer() {
            fleet.tables().await?;
            let (intake, address) = peer.serve(fleet, &folder.join("objects")).await?;
            return Ok(Self { intake, address, worker: peer.work(fleet)? });
        }
        let (intake, address) = fleet.ingest().await?;
        Ok(Self { intake, address, worker: fleet.processor()? })
    }
}

/// Runs it once.
///
/// # Errors
/// When something does not start, or a row is missing in the end.
pub(crate) async fn once(way: Way, programs: &Programs) -> anyhow::Result<Sample> {
    warm(STORED)?;
    let folder = tempfile::Builder::new().prefix("headworks-bench-").tempdir_in("/dev/shm")?;
    let bucket = match way.who {
        Who::HeadworksS3 => Some(s3(programs, folder.path()).await?),
        _ => None,
    };
    let store = bucket.as_ref().map_or(Store::Files(folder.path()), |(_, address)| Store::S3(*address));
    let fleet = Fleet::start(programs, store).await?;
    let mut line = Line::start(way.who, &fleet, folder.path()).await?;
    let servers = || {
        let bucket = bucket.as_ref().map_or(Ok(0.0), |(process, _)| process.tree().cpu_seconds());
        anyhow::Ok((fleet.redis.cpu()? + fleet.postgres.cpu()?).as_secs_f64() + bucket?)
    };
    let before = (line.intake.tree().cpu_seconds()?, servers()?, own_cpu_seconds()?);
    let begun = Instant::now();
    let own = Tree::of([line.intake.pid(), line.worker.pid()]);
    let (loaded, peak) = peak_during(own, load::run(plan(line.address, way.burst))).await;
    let loaded = loaded?;
    let generator = own_cpu_seconds()? - before.2;
    let database = fleet.postgres.connect(&fleet.database).await?;
    let acknowledged = loaded.tally.acknowledged();
    rows::all_stored(&database, acknowledged, PATIENCE, || {
        line.worker.is_alive().context("the worker ended")
    })
    .await?;
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
        intake: line.intake.tree().cpu_seconds()? - before.0,
        worker: line.worker.tree().cpu_seconds()?,
        servers: servers()? - before.1,
        generator,
        peak_mib: mib(peak.subject),
    })
}

fn plan(target: SocketAddr, burst: Option<usize>) -> Plan {
    Plan {
        duration: LOAD,
        requests: burst.map_or(u64::MAX, |uploads| uploads as u64),
        remembers: true,
        ..Plan::put(target, burst.unwrap_or(CLIENTS), BODY)
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
    for Remembered { turn, at_us, .. } in tally.remembered() {
        let committed = committed.get(turn).with_context(|| format!("upload {turn} has no row"))?;
        lags.record(committed.saturating_sub(*at_us).max(1))?;
    }
    Ok(lags)
}

/// The table of all runs' medians.
pub(crate) fn table(all: &[(Way, Vec<Sample>)]) -> String {
    let mut table = String::from(
        "| way | uploads/s to the row | least–most | s to the last row | 201 p99 ms | 201 to row p50 ms | p99 ms | errors | \
         CPU s / 1,000: own | with servers | of these: intake | worker | servers | generator | peak RSS MiB, own |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for (way, samples) in all {
        let each = |value: fn(&Sample) -> f64| median(samples, |it| value(it) / it.uploads * 1e3);
        table += &format!(
            "| {way} | {:.0} | {} | {:.2} | {:.1} | {:.1} | {:.1} | {:.0} | {:.3} | {:.3} | {:.3} | {:.3} | {:.3} | {:.3} | {:.0} |\n",
            median(samples, Sample::rate),
            spread(samples.iter().map(Sample::rate)),
            median(samples, |it| it.seconds),
            median(samples, |it| it.answered_p99_ms),
            median(samples, |it| it.lag_p50_ms),
            median(samples, |it| it.lag_p99_ms),
            samples.iter().map(|it| it.errors).sum::<f64>(),
            each(|it| it.intake + it.worker),
            each(|it| it.intake + it.worker + it.servers),
            each(|it| it.intake),
            each(|it| it.worker),
            each(|it| it.servers),
            each(|it| it.generator),
            median(samples, |it| it.peak_mib),
        );
    }
    table
}

/// What goes on, as a picture; not what comes at once.
pub(crate) fn plot(all: &[(Way, Vec<Sample>)]) -> Plot {
    let panel = |title, value: fn(&Sample) -> f64| {
        let lasting = all.iter().filter(|(way, _)| way.burst.is_none());
        let one = |panel: Panel, (way, samples): &(Way, Vec<Sample>)| {
            panel.bar(&way.to_string(), samples.iter().map(value).collect())
        };
        lasting.fold(Panel::new(title), one)
    };
    let panels = vec![
        panel("uploads/s to the row", Sample::rate),
        panel("ms from answer to row, p99", |it| it.lag_p99_ms),
        panel("CPU s for 1,000 uploads, without servers", |it| (it.intake + it.worker) / it.uploads * 1e3),
        panel("peak RSS, MiB, without servers", |it| it.peak_mib),
    ];
    Plot { name: "journey".into(), title: "W5: uploads until their rows are there".into(), panels }
}
