//! What others would use in the processor's place; their programs are in `benchmarks/peers`, and install themselves to `target/peers`.

use std::{path::PathBuf, process::Command};

use anyhow::Context as _;

use super::{
    Fleet,
    drain::{JOBS, Worker},
};
use crate::subjects::process::Process;

/// A worker that is not ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    library: Library,
    mode: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Library {
    Bullmq,
    Arq,
}

impl Peer {
    /// The peer that a worker is, if it is one.
    pub(super) fn of(worker: Worker) -> Option<Self> {
        let (library, mode) = match worker {
            Worker::BullmqEach => (Library::Bullmq, "each"),
            Worker::BullmqBatches => (Library::Bullmq, "batch"),
            Worker::ArqEach => (Library::Arq, "each"),
            Worker::ArqBatches => (Library::Arq, "batch"),
            Worker::Headworks | Worker::Ceiling => return None,
        };
        Some(Self { library, mode })
    }

    /// Why it cannot run here, if it cannot.
    pub(super) fn missing(self) -> Option<String> {
        let needed = match self.library {
            Library::Bullmq => installed().join("bullmq/node_modules/bullmq"),
            Library::Arq => installed().join("arq/bin/arq"),
        };
        (!needed.exists()).then(|| "it is not installed: see benchmarks/peers/install".to_owned())
    }

    /// Puts its jobs on its queue.
    ///
    /// # Errors
    /// When it fails.
    pub(super) fn preload(self, fleet: &Fleet) -> anyhow::Result<()> {
        let output = self.command("preload", fleet).output().context("preload a peer's jobs")?;
        anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// Starts its worker.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn work(self, fleet: &Fleet) -> anyhow::Result<Process> {
        Process::start(&mut self.command("worker", fleet), &fleet.folder.path().join("peer.log"))
    }

    fn command(self, program: &str, fleet: &Fleet) -> Command {
        let mut command = match self.library {
            Library::Bullmq => {
                let mut node = Command::new("node");
                node.arg(installed().join("bullmq").join(format!("{program}.mjs")));
                node
            }
            Library::Arq => {
                let mut python = Command::new(installed().join("arq/bin/python"));
                python.arg(installed().join("arq").join(format!("{program}.py")));
                python
            }
        };
        command.env("REDIS_URL", fleet.redis.url()).env("DATABASE_URL", fleet.url());
        command.env("JOBS", JOBS.to_string()).env("MODE", self.mode);
        command
    }
}

fn installed() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/peers"))
}
