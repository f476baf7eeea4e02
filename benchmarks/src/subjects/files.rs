//! Servers that put a body into a file, and know nothing else of it: what one would install for that.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context as _;

use super::{
    Intake, Rest, Running,
    process::{Process, Ready, free_address},
};
use crate::{
    fleet::peers::{has_node, installed},
    load::Api,
};

/// In how many bytes of a large file a client sends it to rustus at a time: it reads each request whole before it writes it.
const RUSTUS_PART: u64 = 8 << 20;

/// Who takes bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Server {
    /// rustus, with one worker for each core, as it comes.
    Rustus,
    /// `@tus/server` with its file store; see `benchmarks/peers/tus`.
    Tus,
    /// dufs, with tokio's threads, as it comes.
    Dufs,
}

impl Server {
    pub(super) fn is_installed(self) -> bool {
        self.program().exists() && (self != Self::Tus || has_node())
    }

    fn program(self) -> PathBuf {
        installed().join(match self {
            Self::Rustus => "rustus/bin/rustus",
            Self::Tus => "tus/node_modules/@tus/server",
            Self::Dufs => "dufs/bin/dufs",
        })
    }

    /// Starts it with its data below `folder`.
    ///
    /// # Errors
    /// When it does not answer after 30 s.
    pub(super) async fn start(self, folder: &Path) -> anyhow::Result<Running> {
        let (address, objects) = (free_address()?, folder.join("objects"));
        fs::create_dir(&objects)?;
        let mut process = Process::start(&mut self.command(address, &objects), &folder.join("output.log"))?;
        process.ready(address, "/", Ready::Answers).await.with_context(|| format!("start {self:?}"))?;
        let tus = |part| Intake { at: address, prefix: "/files", api: Api::Tus { part } };
        let intake = match self {
            Self::Rustus => tus(RUSTUS_PART),
            Self::Tus => tus(u64::MAX),
            Self::Dufs => Intake::put(address, "/up"),
        };
        Ok(Running { processes: vec![process], rest: Rest::Nothing, intake })
    }

    fn command(self, listen: SocketAddr, objects: &Path) -> Command {
        let (host, port) = (listen.ip().to_string(), listen.port().to_string());
        let mut command = Command::new(self.program());
        match self {
            Self::Rustus => {
                command.args(["--host", &host, "--port", &port, "--url", "/files", "--log-level", "ERROR"]);
                command.args(["--max-body-size", &RUSTUS_PART.to_string()]);
                command.arg("--data-dir").arg(objects).arg("--info-dir").arg(objects);
            }
            Self::Tus => {
                command = Command::new("node");
                command.arg(installed().join("tus/server.mjs"));
                command.env("LISTEN", listen.to_string()).env("OBJECTS", objects);
            }
            Self::Dufs => {
                command.args(["--allow-upload", "--bind", &host, "--port", &port, "--log-format", ""]);
                command.arg(objects);
            }
        }
        command
    }
}
