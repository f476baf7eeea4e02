//! One process of a fleet.

use std::{net::SocketAddr, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;

use crate::{
    Client, DEADLINE, Metrics, process,
    servers::{Server, free_address},
    until,
};

/// The longest time to start: a busy machine starts many at once.
const START: Duration = Duration::from_secs(60);

/// What a process does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Takes uploads in.
    Ingest,
    /// Drains the queue.
    Processor,
    /// Reads.
    Catalog,
}

impl Kind {
    /// As in its binary's name, and its section of the settings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Processor => "processor",
            Self::Catalog => "catalog",
        }
    }
}

/// A process, alive or dead.
#[derive(Debug)]
pub struct Node {
    kind: Kind,
    server: Server,
    listen: SocketAddr,
    admin: SocketAddr,
    dead: bool,
}

impl Node {
    /// Starts one, and waits until it answers its operators.
    pub(super) async fn begin(
        kind: Kind,
        mut command: Command,
        folder: &Path,
        number: usize,
    ) -> Result<Self> {
        let (listen, admin) = (free_address()?, free_address()?);
        let section = kind.as_str().to_uppercase();
        command.env(format!("HEADWORKS__{section}__ADMIN"), admin.to_string());
        if kind != Kind::Processor {
            command.env(format!("HEADWORKS__{section}__LISTEN"), listen.to_string());
        }
        let folder = folder.join(format!("{}-{number}", kind.as_str()));
        std::fs::create_dir_all(&folder)?;
        let server = Server::start(kind.as_str(), command, &folder, admin).await?;
        Ok(Self { kind, server, listen, admin, dead: false })
    }

    /// Waits until it is ready.
    ///
    /// # Errors
    /// When it is not in time.
    pub async fn is_ready(&self) -> Result<()> {
        let ready = async || self.readiness().await.with_context(|| self.server.said());
        until("a process to be ready", START, ready, |status| *status == 200).await.map(drop)
    }

    /// What `/readyz` answers.
    ///
    /// # Errors
    /// When nothing is answered.
    pub async fn readiness(&self) -> Result<u16> {
        Ok(self.operators().get("/readyz").send().await?.status)
    }

    /// Waits until it has ended by itself, and says what it said last.
    ///
    /// # Errors
    /// When it lives on.
    pub async fn gives_up(&mut self) -> Result<String> {
        self.ends("a process to give up").await?;
        Ok(self.server.said())
    }

    /// What it does.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Itself, unless it has died.
    pub fn if_alive(&mut self) -> Option<&mut Self> {
        self.dead |= self.server.has_ended();
        (!self.dead).then_some(self)
    }

    /// Where its public listener is.
    pub fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// Where its operators ask.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// A client of its public listener.
    pub fn client(&self) -> Client {
        Client::new(self.listen)
    }

    /// A client of its listener for operators.
    pub fn operators(&self) -> Client {
        Client::new(self.admin)
    }

    /// Its figures.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn metrics(&self) -> Result<Metrics> {
        let answer = self.operators().get("/metrics").send().await?.with_status(200)?;
        Ok(Metrics::parse(&String::from_utf8_lossy(&answer.body)))
    }

    /// Sends it a signal: `STOP` makes it hang, `CONT` go on.
    ///
    /// # Errors
    /// When it is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.server.signal(signal)
    }

    /// Its memory, in bytes: `VmRSS` is what it has now, `VmHWM` the most it ever had.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn memory(&self, figure: &str) -> Result<u64> {
        process::memory(self.server.id(), figure)
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// When it is dead already.
    pub fn kill(&mut self) -> Result<()> {
        self.dead = true;
        self.server.kill()
    }

    /// Waits until it has died at its failpoint.
    ///
    /// # Errors
    /// When it lives on.
    pub async fn dies(&mut self) -> Result<()> {
        self.ends("a process to die at its failpoint").await
    }

    async fn ends(&mut self, what: &str) -> Result<()> {
        let server = &mut self.server;
        until(what, DEADLINE, async || Ok(server.has_ended()), |ended| *ended).await?;
        self.dead = true;
        Ok(())
    }

    /// Stops it as systemd does.
    ///
    /// # Errors
    /// When it does not end in time.
    pub async fn stop(&mut self) -> Result<()> {
        ensure!(!self.dead, "{:?} is dead", self.kind);
        self.dead = true;
        self.server.end(Signal::TERM).await
    }

    /// What it said last.
    pub fn story(&self) -> String {
        const LINES: usize = 12;
        let said = self.server.said();
        let lines: Vec<_> = said.lines().collect();
        let last = lines.get(lines.len().saturating_sub(LINES)..).unwrap_or_default();
        format!("{:?} {}:\n  {}", self.kind, if self.dead { "(dead)" } else { "" }, last.join("\n  "))
    }
}
