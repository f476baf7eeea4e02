//! A process that is ended by whoever holds it.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

use crate::{measure::Tree, probe};

/// How long a process may take until it answers.
const START: Duration = Duration::from_secs(30);
/// How long a process may take to end before it is killed.
const END: Duration = Duration::from_secs(20);
/// The wait between two looks at it.
const LOOK: Duration = Duration::from_millis(20);
/// How many bytes of its log are shown when it does not start.
const SHOWN: usize = 1_000;

/// A process, its log and its end: it gets SIGTERM when this is dropped, and SIGKILL (its children too) if it stays.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command`; what it prints goes to `log`.
    ///
    /// # Errors
    /// When the log cannot be written or the program is not there.
    pub(crate) fn start(command: &mut Command, log: &Path) -> anyhow::Result<Self> {
        let output = File::create(log).with_context(|| format!("create {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("start {}", command.get_program().display()))?;
        Ok(Self { child, log: log.to_owned() })
    }

    /// Its id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The process and its children.
    pub(crate) fn tree(&self) -> Tree {
        Tree::of([self.child.id()])
    }

    /// Stops it in the middle of whatever it does, for as long as what is returned is kept.
    pub(crate) fn pause(&self) -> Paused {
        signal(self.child.id(), Signal::STOP);
        Paused(self.child.id())
    }

    /// Waits until `path` is answered, and well if that is `needed`.
    ///
    /// # Errors
    /// When it ends or is not ready after 30 s; with the end of its log.
    pub(crate) async fn ready(&mut self, at: SocketAddr, path: &str, needed: Ready) -> anyhow::Result<()> {
        let deadline = Instant::now() + START;
        loop {
            if let Ok((status, _)) = probe::get(at, path).await
                && (needed == Ready::Answers || status.is_success())
            {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                anyhow::bail!("it ended at once ({status}): {}", self.said());
            }
            anyhow::ensure!(Instant::now() < deadline, "it is not ready after {START:?}: {}", self.said());
            sleep(LOOK).await;
        }
    }

    /// Makes sure that it has not ended.
    ///
    /// # Errors
    /// When it has; with the end of its log.
    pub(crate) fn is_alive(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            Some(status) => anyhow::bail!("{status}: {}", self.said()),
            None => Ok(()),
        }
    }

    /// The end of its log.
    fn said(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let tail = log.get(log.len().saturating_sub(SHOWN)..).unwrap_or_default();
        String::from_utf8_lossy(tail).trim().to_owned()
    }

    fn ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended() {
            return;
        }
        let family = self.tree().pids();
        signal(self.child.id(), Signal::TERM);
        let deadline = Instant::now() + END;
        while !self.ended() && Instant::now() < deadline {
            thread::sleep(LOOK);
        }
        if !self.ended() {
            family.into_iter().for_each(|pid| signal(pid, Signal::KILL));
            drop(self.child.wait());
        }
    }
}

/// A process that stands still.
#[derive(Debug)]
#[must_use = "the process goes on when it is dropped"]
pub(crate) struct Paused(u32);

impl Drop for Paused {
    fn drop(&mut self) {
        signal(self.0, Signal::CONT);
    }
}

/// What counts as ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ready {
    /// Any answer.
    Answers,
    /// A 2xx.
    Succeeds,
}

/// An address on which nobody listens at this moment.
///
/// # Errors
/// When the machine has no port left.
pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// A process that is gone meanwhile needs no signal.
fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_process_that_ends_at_once_is_named_with_its_last_words() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo port is taken; exit 3"]);
        let mut process = Process::start(&mut command, &folder.path().join("log")).unwrap();
        let error = process.ready(free_address().unwrap(), "/", Ready::Answers).await.unwrap_err();
        assert!(error.to_string().contains("port is taken"), "{error}");
    }

    #[test]
    fn a_process_ends_with_its_holder() {
        let folder = tempfile::tempdir().unwrap();
        let process = Process::start(Command::new("sleep").arg("60"), &folder.path().join("log")).unwrap();
        let tree = process.tree();
        assert!(tree.cpu_seconds().is_ok());
        drop(process);
        assert!(tree.cpu_seconds().is_err());
    }
}
