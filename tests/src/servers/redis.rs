//! A Redis of a test's own, in a folder of its own: it can hang, be killed, and start again on the same port with the same folder.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result};
use redis::{AsyncCommands as _, AsyncConnectionConfig, Client, aio::MultiplexedConnection};
use rustix::process::Signal;
use tempfile::TempDir;

use super::{Server, free_address, program};
use crate::{DEADLINE, until};

/// A private Redis.
#[derive(Debug)]
pub struct Redis {
    folder: TempDir,
    address: SocketAddr,
    settings: Vec<String>,
    server: Option<Server>,
}

impl Redis {
    /// Starts one that keeps an append-only file, synced with every write, and evicts nothing.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start() -> Result<Self> {
        Self::start_with(&["--appendonly", "yes", "--appendfsync", "always"]).await
    }

    /// Starts one with other settings, as its command line takes them.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start_with(settings: &[&str]) -> Result<Self> {
        let settings = settings.iter().map(|&setting| setting.to_owned()).collect();
        let mut redis =
            Self { folder: tempfile::tempdir()?, address: free_address()?, settings, server: None };
        redis.start_again().await?;
        Ok(redis)
    }

    /// Starts it again, after it was killed: on the same port, with what is in its folder.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start_again(&mut self) -> Result<()> {
        let mut command = Command::new(program("redis-server", &["/usr/bin", "/usr/local/bin"])?);
        command.args(["--bind", "127.0.0.1", "--port", &self.address.port().to_string()]);
        command.arg("--dir").arg(self.data()).args(["--save", "", "--daemonize", "no"]);
        command.args(["--maxmemory-policy", "noeviction"]).args(&self.settings);
        fs::create_dir_all(self.data())?;
        self.server = Some(Server::start("redis", command, self.folder.path(), self.address).await?);
        let look = async || {
            let pinged = async { Ok::<_, anyhow::Error>(self.connect().await?.ping::<()>().await?) };
            Ok(pinged.await.err())
        };
        until("Redis to have loaded its file", DEADLINE, look, Option::is_none).await.map(drop)
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// When it is gone already.
    pub fn kill(&mut self) -> Result<()> {
        self.server.take().context("Redis runs")?.kill()
    }

    /// It does not answer, and keeps its connections, until it is told to go on.
    ///
    /// # Errors
    /// When it is gone.
    pub fn hang(&self) -> Result<()> {
        self.server.as_ref().context("Redis runs")?.signal(Signal::STOP)
    }

    /// It goes on.
    ///
    /// # Errors
    /// When it is gone.
    pub fn go_on(&self) -> Result<()> {
        self.server.as_ref().context("Redis runs")?.signal(Signal::CONT)
    }

    /// Copies what it has written so far: a state to go back to.
    ///
    /// # Errors
    /// When it cannot be copied.
    pub fn copy(&self) -> Result<TempDir> {
        let copy = tempfile::tempdir()?;
        copy_all(&self.data(), copy.path())?;
        Ok(copy)
    }

    /// Puts a copy in the place of what was written since. It must not run meanwhile.
    ///
    /// # Errors
    /// When it cannot be put there.
    pub fn restore(&self, copy: &TempDir) -> Result<()> {
        fs::remove_dir_all(self.data())?;
        copy_all(copy.path(), &self.data())?;
        Ok(())
    }

    /// The processor time that it has used.
    ///
    /// # Errors
    /// When it is gone.
    pub fn cpu(&self) -> Result<Duration> {
        Ok(self.server.as_ref().context("Redis runs")?.cpu())
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// A connection of one's own, with more patience than the half second that the library has by itself.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn connect(&self) -> Result<MultiplexedConnection> {
        let patient = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(DEADLINE))
            .set_response_timeout(Some(DEADLINE));
        Ok(Client::open(self.url())?.get_multiplexed_async_connection_with_config(&patient).await?)
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }
}

fn copy_all(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_all(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}
