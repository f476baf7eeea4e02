//! What a stream costs in memory: a thousand at once, each of 16 MiB, into files and to a store that speaks S3.

mod sink;
pub(crate) mod stall;
mod write_multipart;

use std::{fmt, fs, net::SocketAddr, path::Path, process::Command, time::Duration};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use headworks_tests::servers::s3::variables;
use tempfile::TempDir;
use tokio::time::Instant;

pub(crate) use self::{sink::serve as sink, write_multipart::serve as write_multipart};
use crate::{
    fleet::{Fleet, Programs, Store},
    load::{self, Framing, Plan},
    measure::{mib, peak_during},
    page::{median, spread},
    plot::{Panel, Plot},
    subjects::process::{Process, Ready, free_address},
};

/// How many streams there are at once.
const STREAMS: u16 = 1000;

/// The size of each body, in bytes.
const BODY: u64 = 16 << 20;

/// The longest time for all of them.
const PATIENCE: Duration = Duration::from_mins(5);

/// Who takes the streams, and where to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Way {
    /// headworks-ingest, into files.
    Files,
    /// headworks-ingest, to S3; the bodies' lengths are told.
    Piped,
    /// headworks-ingest, to S3; they are not told.
    Chunked,
    /// A server that gives each body to `object_store`'s `WriteMultipart`.
    WriteMultipart,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Files => "Headworks, files",
            Self::Piped => "Headworks, S3, length told",
            Self::Chunked => "Headworks, S3, length not told",
            Self::WriteMultipart => "object_store's WriteMultipart, S3",
        })
    }
}

/// Where a helper of the benchmark listens, and with whom it speaks.
#[derive(Args, Debug)]
pub(crate) struct Helper {
    /// Where it listens.
    pub listen: SocketAddr,
}

/// One run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    before: u64,
    peak: u64,
    seconds: f64,
    acknowledged: u64,
    cpu: f64,
}

impl Sample {
    /// By how many KiB memory grew, for each stream.
    fn kib_per_stream(&self) -> f64 {
        self.peak.saturating_sub(self.before) as f64 / 1024.0 / f64::from(STREAMS)
    }

    fn megabytes_per_second(&self) -> f64 {
        (self.acknowledged * BODY) as f64 / 1e6 / self.seconds
    }
}

/// Runs it once; files are made below `disk`.
///
/// # Errors
/// When something does not start, or a body is not taken.
pub(crate) async fn once(way: Way, programs: &Programs, disk: &Path) -> anyhow::Result<Sample> {
    let folder = tempfile::Builder::new().prefix("headworks-bench-").tempdir_in(disk)?;
    let subject = Subject::start(way, programs, &folder).await?;
    let tree = subject.process.tree();
    let (before, cpu, begun) = (tree.resident_bytes(), tree.cpu_seconds()?, Instant::now());
    let (loaded, peak) = peak_during(tree.clone(), load::run(plan(way, subject.address))).await;
    let seconds = begun.elapsed().as_secs_f64();
    let tally = loaded?.tally;
    anyhow::ensure!(tally.acknowledged() == u64::from(STREAMS), "not all were taken: {:?}", tally.errors());
    let cpu = tree.cpu_seconds()? - cpu;
    Ok(Sample { before, peak: peak.subject, seconds, acknowledged: tally.acknowledged(), cpu })
}

fn plan(way: Way, target: SocketAddr) -> Plan {
    Plan {
        framing: if way == Way::Chunked { Framing::Chunked } else { Framing::Length },
        duration: PATIENCE,
        requests: u64::from(STREAMS),
        deadline: PATIENCE,
        ..Plan::put(target, usize::from(STREAMS), BODY)
    }
}

/// Who is measured, and what stands behind it.
struct Subject {
    process: Process,
    address: SocketAddr,
    /// What takes the bytes in the end, and where.
    store: Option<(Process, SocketAddr)>,
    _fleet: Option<Fleet>,
}

impl Subject {
    async fn start(way: Way, programs: &Programs, folder: &TempDir) -> anyhow::Result<Self> {
        if way == Way::Files {
            let fleet = Fleet::start(programs, Store::Files(folder.path())).await?;
            let (process, address) = fleet.ingest().await?;
            return Ok(Self { process, address, store: None, _fleet: Some(fleet) });
        }
        let (sink, at) = helper("sink", &[], folder.path()).await?;
        let store = Some((sink, at));
        if way == Way::WriteMultipart {
            let (process, address) = helper("write-multipart", &variables(at), folder.path()).await?;
            return Ok(Self { process, address, store, _fleet: None });
        }
        let fleet = Fleet::start(programs, Store::S3(at)).await?;
        let (process, address) = fleet.ingest().await?;
        Ok(Self { process, address, store, _fleet: Some(fleet) })
    }
}

/// Starts this program again as one of its helpers.
async fn helper(
    name: &str,
    variables: &[(String, String)],
    folder: &Path,
) -> anyhow::Result<(Process, SocketAddr)> {
    let address = free_address()?;
    let mut command = Command::new(std::env::current_exe().context("find this program")?);
    command.arg(name).arg(address.to_string()).envs(variables.iter().cloned());
    let mut process = Process::start(&mut command, &folder.join(format!("{name}.log")))?;
    process.ready(address, "/", Ready::Answers).await.with_context(|| format!("start {name}"))?;
    Ok((process, address))
}

/// The table of all ways' medians.
pub(crate) fn table(all: &[(Way, Vec<Sample>)]) -> String {
    let mut table = String::from(
        "| way | KiB per stream | least–most | peak RSS MiB | before MiB | MB/s | CPU s / GB |\n\
         |---|---:|---:|---:|---:|---:|---:|\n",
    );
    for (way, samples) in all {
        table += &format!(
            "| {way} | {:.0} | {} | {:.0} | {:.0} | {:.0} | {:.2} |\n",
            median(samples, Sample::kib_per_stream),
            spread(samples.iter().map(Sample::kib_per_stream)),
            median(samples, |sample| mib(sample.peak)),
            median(samples, |sample| mib(sample.before)),
            median(samples, Sample::megabytes_per_second),
            median(samples, |sample| sample.cpu / ((sample.acknowledged * BODY) as f64 / 1e9)),
        );
    }
    table
}

/// Memory and throughput, as a picture.
pub(crate) fn plot(all: &[(Way, Vec<Sample>)]) -> Plot {
    let panels = vec![
        Panel::of("KiB per stream", all, Sample::kib_per_stream),
        Panel::of("MB/s", all, Sample::megabytes_per_second),
    ];
    Plot { name: "memory".into(), title: "Memory of a thousand streams".into(), panels }
}

/// Why a way cannot be gone here, if it cannot: its files need room.
pub(crate) fn missing(way: Way, disk: &Path) -> Option<String> {
    let needed = u64::from(STREAMS) * BODY;
    let free = fs::metadata(disk).ok().and_then(|_| rustix::fs::statvfs(disk).ok());
    let free = free.map_or(0, |room| room.f_bavail * room.f_frsize);
    (way == Way::Files && free < 2 * needed).then(|| format!("{} has too little room", disk.display()))
}
