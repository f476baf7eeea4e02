//! A fleet to be measured: a Redis and a PostgreSQL of its own, and Headworks' processes on them, as they are shipped.

pub(crate) mod ceiling;
pub(crate) mod drain;
pub(crate) mod journey;
pub(crate) mod peers;
pub(crate) mod rows;
pub(crate) mod scale;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context as _;
use headworks_tests::servers::{
    postgres::Postgres,
    redis::Redis,
    s3::{BUCKET, variables},
};
use tempfile::TempDir;

use crate::subjects::process::{Process, Ready, free_address};

/// As a server of its own would be set; the rest is as it comes, so each commit is synced.
const POSTGRES: [&str; 5] = [
    "shared_buffers=512MB",
    "max_wal_size=8GB",
    "checkpoint_timeout=15min",
    "wal_compression=on",
    // When a row became visible: the end of an upload's way.
    "track_commit_timestamp=on",
];

/// Its file is synced once a second.
const REDIS: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "everysec"];

/// The queue's capacity, in jobs: more than any benchmark queues, so that none is refused and the whole cost is seen.
const CAPACITY: u64 = 200_000;

/// Streams at once: as many as a benchmark sends.
const STREAMS: u64 = 2_000;

/// Where the programs are.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    /// `target/release`, or where else they were built.
    pub folder: PathBuf,
}

impl Programs {
    /// Where one of them is.
    ///
    /// # Errors
    /// When it was not built.
    pub(crate) fn find(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.folder.join(name);
        anyhow::ensure!(path.is_file(), "{} is not there: `make bench` builds it", path.display());
        Ok(path)
    }
}

/// Servers, the settings of the processes on them, and the folder that they share.
#[derive(Debug)]
pub(crate) struct Fleet {
    /// The queue's.
    pub redis: Redis,
    /// The metadata's.
    pub postgres: Postgres,
    /// Its name in there.
    pub database: String,
    /// Where everything of it is that is not the servers' own; in memory.
    pub folder: TempDir,
    programs: Programs,
    variables: Vec<(String, String)>,
}

/// Where a fleet keeps its objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Store<'a> {
    /// In files in this folder, which nobody syncs.
    Files(&'a Path),
    /// With whoever speaks S3 at this address.
    S3(std::net::SocketAddr),
}

impl Fleet {
    /// Starts the servers.
    ///
    /// # Errors
    /// When one does not start.
    pub(crate) async fn start(programs: &Programs, store: Store<'_>) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("headworks-bench-").tempdir_in("/dev/shm")?;
        let postgres = Postgres::start_with(&POSTGRES).await?;
        let database = postgres.database().await?;
        let fleet = Self {
            redis: Redis::start_with(&REDIS).await?,
            postgres,
            database,
            folder,
            programs: programs.clone(),
            variables: match store {
                Store::Files(_) => Vec::new(),
                Store::S3(address) => variables(address),
            },
        };
        fs::write(fleet.settings(), fleet.write_settings(store))?;
        Ok(fleet)
    }

    fn write_settings(&self, store: Store<'_>) -> String {
        let objects = match store {
            Store::Files(folder) => format!("file://{}/objects", folder.display()),
            Store::S3(_) => format!("s3://{BUCKET}/fleet"),
        };
        format!(
            "[storage]\nurl = {objects:?}\ndurability = \"none\"\n\
             [queue]\nurl = {:?}\ncapacity = {CAPACITY}\n[metadata]\nurl = {:?}\n\
             [ingest.limits]\nstreams = {STREAMS}\nconnections = {}\n[log]\nfilter = \"warn\"\n",
            self.redis.url(),
            self.url(),
            2 * STREAMS,
        )
    }

    fn settings(&self) -> PathBuf {
        self.folder.path().join("headworks.toml")
    }

    /// The URL of the metadata.
    pub(crate) fn url(&self) -> String {
        self.postgres.url(&self.database)
    }

    /// Makes the tables, and the scope of uploads that name none, for those who write rows and are not Headworks.
    ///
    /// # Errors
    /// When they cannot be made.
    pub(crate) async fn tables(&self) -> anyhow::Result<()> {
        let mut command = self.command("headworks")?;
        let output = command.arg("migrate").arg("--config").arg(self.settings()).output()?;
        anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let database = self.postgres.connect(&self.database).await?;
        database.batch_execute("INSERT INTO scopes (org, project) VALUES ('default', 'default')").await?;
        Ok(())
    }

    /// Starts an ingest; with the address that takes uploads.
    ///
    /// # Errors
    /// When it is not ready in time.
    pub(crate) async fn ingest(&self) -> anyhow::Result<(Process, std::net::SocketAddr)> {
        let (listen, admin) = (free_address()?, free_address()?);
        let mut command = self.command("headworks-ingest")?;
        command.arg("--config").arg(self.settings());
        command.env("HEADWORKS__INGEST__LISTEN", listen.to_string());
        command.env("HEADWORKS__INGEST__ADMIN", admin.to_string());
        let mut process = Process::start(&mut command, &self.log("ingest"))?;
        process.ready(admin, "/readyz", Ready::Succeeds).await.context("start an ingest")?;
        Ok((process, listen))
    }

    /// Starts a processor, and does not wait for it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn processor(&self) -> anyhow::Result<Process> {
        let mut command = self.command("headworks-processor")?;
        command.arg("--config").arg(self.settings());
        command.env("HEADWORKS__PROCESSOR__ADMIN", free_address()?.to_string());
        Process::start(&mut command, &self.log(&format!("processor-{}", fastrand::u32(..))))
    }

    fn command(&self, program: &str) -> anyhow::Result<Command> {
        let mut command = Command::new(self.programs.find(program)?);
        command.envs(self.variables.iter().cloned());
        Ok(command)
    }

    fn log(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.log"))
    }
}

/// A server that speaks S3, in a process of its own.
///
/// # Errors
/// When it does not answer in time.
pub(crate) async fn s3(
    programs: &Programs,
    folder: &Path,
) -> anyhow::Result<(Process, std::net::SocketAddr)> {
    let address = free_address()?;
    let mut command = Command::new(programs.find("s3")?);
    command.arg(address.to_string()).arg(folder.join("bucket"));
    let mut process = Process::start(&mut command, &folder.join("s3.log"))?;
    process.ready(address, "/", Ready::Answers).await.context("start the S3 server")?;
    Ok((process, address))
}
