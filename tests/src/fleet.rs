//! A fleet under test: real servers, and processes of Headworks on them, that can die and be started again one by one.
//!
//! Its processes are the ones with failpoints, so that they die where a test wants them to; in all else they are those that are shipped.

mod node;
mod uploads;

use std::{path::PathBuf, process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
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
const SETTLED: Duration = Duration::from_secs(90);

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
    s3: S3,
    binaries: &'static Binaries,
    folder: TempDir,
}

impl Fleet {
    /// Starts the servers, and one process of each kind.
    ///
    /// # Errors
    /// When something of it does not start.
    pub async fn start() -> Result<Self> {
        let binaries = binary::fleet()?;
        let s3 = S3::start().await?;
        let mut fleet = Self {
            redis: Redis::start().await?,
            postgres: Postgres::start().await?,
            store: Proxy::start(s3.address()).await?,
            receiver: Receiver::start(&[]).await?,
            nodes: Vec::new(),
            s3,
            binaries,
            folder: tempfile::tempdir()?,
        };
        fleet.write_settings().await?;
        for kind in [Kind::Processor, Kind::Ingest, Kind::Catalog] {
            fleet.add(kind, None).await?;
        }
        Ok(fleet)
    }

    async fn write_settings(&self) -> Result<()> {
        let database = self.postgres.url(&self.postgres.database().await?);
        let webhook = Receiver::setting(self.receiver.address(), &[]);
        let settings = format!(
            "[storage]\nurl = \"s3://{}/fleet\"\n\
             [queue]\nurl = {:?}\nlease = \"3s\"\ncredit_ttl = \"3s\"\ncapacity = 2000\npool = 8\n\
             [metadata]\nurl = {:?}\npool = 8\nacquire_timeout = \"2s\"\nstatement_timeout = \"2s\"\n\
             [memory]\nshut_above = 98\nopen_below = 97\ncritical = 99\n[disk]\nshut_below = 1\nopen_above = 2\n\
             [processor.sweep]\nevery = \"1s\"\nsettle = \"1s\"\n\
             [notify]\nwebhooks = {webhook}\nallow_private = true\ntimeout = \"1s\"\n\
             [shutdown]\ngrace = \"20s\"\n",
            crate::servers::s3::BUCKET,
            self.redis.url(),
            database,
        );
        Ok(std::fs::write(self.settings(), settings)?)
    }

    /// The settings that all of them share.
    pub fn settings(&self) -> PathBuf {
        self.folder.path().join("fleet.toml")
    }

    /// Starts one more process, which dies at `failpoint`.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn add(&mut self, kind: Kind, failpoint: Option<&str>) -> Result<usize> {
        let mut command = self.command(self.binaries.of(kind));
        if let Some(failpoint) = failpoint {
            command.env("HEADWORKS_FAILPOINT", failpoint);
        }
        let node = Node::start(kind, command, self.folder.path(), self.nodes.len()).await?;
        self.nodes.push(node);
        Ok(self.nodes.len() - 1)
    }

    fn command(&self, program: &std::path::Path) -> Command {
        let mut command = Command::new(program);
        command.arg("--config").arg(self.settings()).envs(variables(self.store.address()));
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
        let mut command = self.headworks(&["queue", "depth"]);
        self.add(Kind::Processor, None).await?;
        let look = async || Ok(String::from_utf8(command.output()?.stdout)?);
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

    fn headworks(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binaries.headworks);
        command.args(arguments).envs(variables(self.store.address()));
        command.arg("--config").arg(self.settings());
        command
    }

    /// `headworks audit` finds nothing.
    async fn audit(&self) -> Result<()> {
        let mut command = self.headworks(&["audit", "--deep"]);
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
