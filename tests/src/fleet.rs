//! A fleet under test: real servers, and processes of Headworks on them, that can die and be started again one by one.
//!
//! Its processes are the ones with failpoints, so that they die where a test wants them to; in all else they are those that are shipped.

mod node;
mod uploads;

use std::{path::PathBuf, process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use headworks_shared::fault::Point;
use tempfile::TempDir;

pub use self::{
    node::{Kind, Node},
    uploads::{Acknowledged, Uploads},
};
use crate::{
    binary::{self, Fleet as Binaries},
    servers::{
        fault::Proxy,
        postgres::Postgres,
        redis::Redis,
        s3::{S3, variables},
    },
    until,
    webhook::Receiver,
};

/// How long a fleet may take to settle what faults left: leases lapse, breakers close, deliveries that were cut off are tried again.
const SETTLED: Duration = Duration::from_secs(180);

/// Short waits, so that what a fault left is found soon; and marks that only a test itself can reach, not whatever else runs here.
pub const IMPATIENT: [(&str, &str); 15] = [
    ("queue.lease", "3s"),
    ("queue.credit_ttl", "3s"),
    ("queue.capacity", "2000"),
    ("queue.pool", "8"),
    ("metadata.pool", "8"),
    ("metadata.acquire_timeout", "2s"),
    ("metadata.statement_timeout", "2s"),
    ("memory.shut_above", "98"),
    ("memory.open_below", "97"),
    ("memory.critical", "99"),
    ("disk.shut_below", "1"),
    ("disk.open_above", "2"),
    ("processor.sweep.every", "1s"),
    ("processor.sweep.settle", "1s"),
    ("notify.timeout", "1s"),
];

/// Where a fleet keeps its objects.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Store {
    /// In a bucket, behind a proxy that can break what passes.
    S3,
    /// On this machine's disk, which takes less of its cores.
    Disk,
}

/// What a fleet consists of.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Which programs.
    pub binaries: &'static Binaries,
    /// How many processes of each kind.
    pub of_each: usize,
    /// Where objects are kept.
    pub store: Store,
    /// Settings beside the addresses of its servers.
    pub settings: Vec<(&'static str, &'static str)>,
}

/// Servers, and what stands on them.
#[derive(Debug)]
pub struct Fleet {
    /// The queue's server.
    pub redis: Redis,
    /// The metadata's server.
    pub postgres: Postgres,
    /// Between Headworks and the store.
    pub store: Proxy,
    /// Who is told of events.
    pub receiver: Receiver,
    /// The processes.
    pub nodes: Vec<Node>,
    /// Its name in the metadata's server.
    pub database: String,
    s3: S3,
    binaries: &'static Binaries,
    variables: Vec<(String, String)>,
    folder: TempDir,
}

impl Fleet {
    /// Starts the servers, and one process of each kind that dies where a test wants it to.
    ///
    /// # Errors
    /// When something of it does not start.
    pub async fn start(store: Store) -> Result<Self> {
        Self::start_as(Shape { binaries: binary::fleet()?, of_each: 1, store, settings: IMPATIENT.into() })
            .await
    }

    /// Starts the servers alone.
    ///
    /// # Errors
    /// When one does not start.
    pub async fn servers(store: Store) -> Result<Self> {
        Self::start_as(Shape { binaries: binary::fleet()?, of_each: 0, store, settings: IMPATIENT.into() })
            .await
    }

    /// Starts the servers, and processes as told.
    ///
    /// # Errors
    /// When something of it does not start.
    pub async fn start_as(shape: Shape) -> Result<Self> {
        let Shape { binaries, of_each, store, settings } = shape;
        let s3 = S3::start().await?;
        let mut fleet = Self {
            redis: Redis::start().await?,
            postgres: Postgres::start().await?,
            store: Proxy::start(s3.address()).await?,
            receiver: Receiver::start(&[]).await?,
            nodes: Vec::new(),
            database: String::new(),
            s3,
            binaries,
            variables: Vec::new(),
            folder: tempfile::tempdir()?,
        };
        fleet.database = fleet.postgres.database().await?;
        fleet.write_settings(store)?;
        let named = |(key, value): &(&str, &str)| {
            (format!("HEADWORKS__{}", key.to_uppercase().replace('.', "__")), (*value).to_owned())
        };
        fleet.variables = variables(fleet.store.address());
        fleet.variables.extend(settings.iter().map(named));
        for kind in [Kind::Processor, Kind::Ingest, Kind::Catalog] {
            for _ in 0..of_each {
                fleet.add(kind, None).await?;
            }
        }
        Ok(fleet)
    }

    /// Stops all processes as systemd does, those first that take in.
    ///
    /// # Errors
    /// When one does not end in time.
    pub async fn stop(&mut self) -> Result<()> {
        for kind in [Kind::Ingest, Kind::Processor, Kind::Catalog] {
            for node in self.alive(kind) {
                node.stop().await?;
            }
        }
        Ok(())
    }

    fn write_settings(&self, store: Store) -> Result<()> {
        let objects = match store {
            Store::S3 => format!("s3://{}/fleet", crate::servers::s3::BUCKET),
            Store::Disk => format!("file://{}/objects", self.folder.path().display()),
        };
        let database = self.postgres.url(&self.database);
        let webhook = Receiver::setting(self.receiver.address(), &[]);
        let settings = format!(
            "[storage]\nurl = {objects:?}\n\
             [notify]\nwebhooks = {webhook}\nallow_private = true\n\
             [queue]\nurl = {:?}\n[metadata]\nurl = {:?}\npool = 16\n",
            self.redis.url(),
            database,
        );
        Ok(std::fs::write(self.settings(), settings)?)
    }

    /// The settings that all of them share.
    pub fn settings(&self) -> PathBuf {
        self.folder.path().join("fleet.toml")
    }

    /// What `headworks` needs in its environment to be run beside them, for a shell.
    pub fn exports(&self) -> String {
        let exports = self.variables.iter().map(|(name, value)| format!("{name}='{value}'"));
        exports.collect::<Vec<_>>().join(" ")
    }

    /// Starts one more process, which dies when it comes to a point for the given time.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn add(&mut self, kind: Kind, dies_at: Option<(Point, u64)>) -> Result<usize> {
        let added = self.begin(kind, dies_at).await?;
        let node = &mut self.nodes[added];
        let mut ready = node.is_ready().await;
        if dies_at.is_some() && ready.is_err() {
            // Work waited for it, so it came to its end before it could say that it is ready.
            ready = node.dies().await.or(ready);
        }
        ready.map(|()| added)
    }

    /// Starts one more process, and does not wait until it is ready.
    ///
    /// # Errors
    /// When it does not answer its operators.
    pub async fn begin(&mut self, kind: Kind, dies_at: Option<(Point, u64)>) -> Result<usize> {
        let mut command = self.command(self.binaries.of(kind));
        if let Some((point, time)) = dies_at {
            command.env("HEADWORKS_FAILPOINT", format!("{}:{time}", point.as_str()));
        }
        let node = Node::begin(kind, command, self.folder.path(), self.nodes.len()).await?;
        self.nodes.push(node);
        Ok(self.nodes.len() - 1)
    }

    fn command(&self, program: &std::path::Path) -> Command {
        let mut command = Command::new(program);
        command.arg("--config").arg(self.settings()).envs(self.variables.iter().cloned());
        command
    }

    /// The processes of a kind that are alive.
    pub fn alive(&mut self, kind: Kind) -> impl Iterator<Item = &mut Node> {
        self.nodes.iter_mut().filter(move |node| node.kind() == kind).filter_map(Node::if_alive)
    }

    /// Kills one of a kind, and starts another in its place.
    ///
    /// # Errors
    /// When none is alive, or the new one does not start.
    pub async fn replace(&mut self, kind: Kind) -> Result<()> {
        let node = self.alive(kind).next().with_context(|| format!("no {kind:?} is alive"))?;
        node.kill()?;
        self.add(kind, None).await.map(drop)
    }

    /// Starts what is dead, waits until nothing is on its way any more, and makes sure that nothing is lost, doubled or left behind.
    ///
    /// # Errors
    /// With what is not as it should be.
    pub async fn settles(&mut self, uploads: &Uploads) -> Result<()> {
        self.store.clear();
        for kind in [Kind::Processor, Kind::Ingest, Kind::Catalog] {
            if self.alive(kind).next().is_none() {
                self.add(kind, None).await?;
            }
        }
        let catalog = self.alive(Kind::Catalog).next().context("a catalog")?.client();
        until(
            "every acknowledged upload to have its row",
            SETTLED,
            async || uploads.missing(&catalog).await,
            Vec::is_empty,
        )
        .await
        .with_context(|| self.story())?;
        self.is_idle().await.with_context(|| self.story())?;
        uploads.are_there(&catalog).await?;
        self.is_told(uploads).await?;
        self.audit().await
    }

    /// Waits until the queue is empty and no credit is held: those who are dead have lost theirs.
    async fn is_idle(&mut self) -> Result<()> {
        for kind in [Kind::Ingest, Kind::Processor] {
            for node in self.alive(kind) {
                node.stop().await?;
            }
        }
        self.add(Kind::Processor, None).await?;
        let look = async || self.operate("queue", &["depth"]);
        let empty = |said: &String| {
            said.lines().any(|line| {
                line.starts_with("all") && line.contains(" 0 of ") && line.ends_with(" 0 credits")
            })
        };
        until("an empty queue", SETTLED, look, empty).await?;
        Ok(())
    }

    /// Each upload's end was told, and under one id.
    async fn is_told(&self, uploads: &Uploads) -> Result<()> {
        let told = async || Ok(uploads.untold(&self.receiver.event_ids()?));
        until("every event to be delivered", SETTLED, told, Vec::is_empty).await?;
        let twice: Vec<_> = self.receiver.event_ids()?.into_iter().filter(|(_, ids)| ids.len() > 1).collect();
        ensure!(twice.is_empty(), "told under more than one id: {twice:#?}");
        Ok(())
    }

    /// What `headworks` prints, when it is run as an operator of this fleet would.
    ///
    /// # Errors
    /// When it does not end well.
    pub fn operate(&self, command: &str, arguments: &[&str]) -> Result<String> {
        let output = self.headworks(command, arguments).output()?;
        ensure!(output.status.success(), "headworks {command} {}: {output:?}", arguments.join(" "));
        Ok(String::from_utf8(output.stdout)?)
    }

    fn headworks(&self, command: &str, arguments: &[&str]) -> Command {
        let mut headworks = Command::new(&self.binaries.headworks);
        headworks.arg(command).arg("--config").arg(self.settings()).args(arguments);
        headworks.envs(self.variables.iter().cloned());
        headworks
    }

    /// `headworks audit` finds nothing.
    async fn audit(&self) -> Result<()> {
        let mut command = self.headworks("audit", &["--deep"]);
        let look = async || {
            let output = command.output()?;
            Ok((output.status.success(), format!("{output:?}")))
        };
        // What was just stored is too young to be judged; whatever is wrong stays wrong.
        until("a clean audit", Duration::from_secs(30), look, |(clean, _)| *clean).await.map(drop)
    }

    /// The objects in the store.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub fn objects(&self) -> Result<Vec<String>> {
        self.s3.objects()
    }

    /// What the processes said last.
    pub fn story(&self) -> String {
        self.nodes.iter().map(Node::story).collect::<Vec<_>>().join("\n")
    }
}
