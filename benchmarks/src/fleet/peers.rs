//! What others would use in the place of Headworks' processes; their programs are in `benchmarks/peers`, and install themselves to
//! `target/peers`.

use std::{
    net::SocketAddr,
    num::NonZero,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use anyhow::Context as _;

use super::{
    Fleet,
    drain::{JOBS, Worker},
};
use crate::subjects::process::{Process, Ready, free_address};

/// A pipeline that is not ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    language: Language,
    /// How its worker writes rows.
    mode: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Language {
    Node,
    Python,
}

impl Peer {
    /// fastify, BullMQ and pg, with the worker that drains faster.
    pub(crate) const NODE: Self = Self { language: Language::Node, mode: "batch" };
    /// uvicorn, arq and asyncpg, with the worker that drains faster.
    pub(crate) const PYTHON: Self = Self { language: Language::Python, mode: "each" };

    /// The peer that a worker is, if it is one.
    pub(super) fn of(worker: Worker) -> Option<Self> {
        let (language, mode) = match worker {
            Worker::BullmqEach => (Language::Node, "each"),
            Worker::BullmqBatches => (Language::Node, "batch"),
            Worker::ArqEach => (Language::Python, "each"),
            Worker::ArqBatches => (Language::Python, "batch"),
            Worker::Headworks | Worker::Ceiling => return None,
        };
        Some(Self { language, mode })
    }

    /// Why it cannot run here, if it cannot.
    pub(crate) fn missing(self) -> Option<String> {
        let is_there = match self.language {
            Language::Node => has_node() && installed().join("node/node_modules/bullmq").exists(),
            Language::Python => installed().join("python/bin/arq").exists(),
        };
        (!is_there).then(|| "it is not installed: see benchmarks/peers/install".to_owned())
    }

    /// Puts its jobs on its queue.
    ///
    /// # Errors
    /// When it fails.
    pub(super) fn preload(self, fleet: &Fleet) -> anyhow::Result<()> {
        let mut command = self.command("preload", fleet);
        let output = command.env("JOBS", JOBS.to_string()).output().context("preload a peer's jobs")?;
        anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// Starts its worker.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn work(self, fleet: &Fleet) -> anyhow::Result<Process> {
        Process::start(&mut self.command("worker", fleet), &fleet.folder.path().join("peer.log"))
    }

    /// Starts its server, which puts files below `objects`; with the address that takes uploads.
    ///
    /// # Errors
    /// When it is not ready in time.
    pub(crate) async fn serve(self, fleet: &Fleet, objects: &Path) -> anyhow::Result<(Process, SocketAddr)> {
        let address = free_address()?;
        let mut command = match self.language {
            Language::Node => self.command("server", fleet),
            Language::Python => uvicorn(address),
        };
        command.env("REDIS_URL", fleet.redis.url()).env("OBJECTS", objects);
        command.env("LISTEN", address.to_string());
        let mut process = Process::start(&mut command, &fleet.folder.path().join("server.log"))?;
        process.ready(address, "/", Ready::Succeeds).await.context("start a peer's server")?;
        Ok((process, address))
    }

    fn command(self, program: &str, fleet: &Fleet) -> Command {
        let mut command = match self.language {
            Language::Node => {
                let mut node = Command::new("node");
                node.arg(installed().join("node").join(format!("{program}.mjs")));
                node
            }
            Language::Python => {
                let mut python = Command::new(installed().join("python/bin/python"));
                python.arg(installed().join("python").join(format!("{program}.py")));
                python
            }
        };
        command.env("REDIS_URL", fleet.redis.url()).env("DATABASE_URL", fleet.url());
        command.env("MODE", self.mode);
        command
    }
}

/// A process for each core, and its two parts that are written in C.
fn uvicorn(listen: SocketAddr) -> Command {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let mut command = Command::new(installed().join("python/bin/python"));
    command.args(["-m", "uvicorn", "server:app", "--loop", "uvloop", "--http", "httptools"]);
    command.arg("--app-dir").arg(installed().join("python"));
    command.args(["--workers", &cores.to_string(), "--backlog", "4096", "--timeout-keep-alive", "120"]);
    command.args(["--host", &listen.ip().to_string(), "--port", &listen.port().to_string()]);
    command.args(["--no-access-log", "--log-level", "warning"]);
    command
}

/// Whether the machine has Node.
pub(crate) fn has_node() -> bool {
    Command::new("node").arg("--version").stdout(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// Where the peers are.
pub(crate) fn installed() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/peers"))
}
