//! One Headworks under test: started as its users start it, stopped or killed, and its log read.
//!
//! Whoever runs one through [`Headworks::run`] gets all the checks at the end: it stops when told to, its log has no line that
//! nobody announced, and `headworks audit` finds nothing.

use std::{
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tokio::time::Instant;

use crate::{
    Client, Config, DEADLINE, Metrics, Rows, binary,
    launch::{addresses, command, in_its_root, path},
    log::{self, Lines},
    remains, until,
};

/// A running process. Killed when dropped.
#[derive(Debug)]
pub struct Headworks {
    child: Child,
    config: Config,
    stdout: Lines,
    stderr: Lines,
    listen: SocketAddr,
    admin: SocketAddr,
    took: Duration,
    ended: bool,
}

/// How a process ended.
#[derive(Clone, Debug)]
pub struct Exit {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// What it said to its user.
    pub stdout: Vec<String>,
    /// What it said to its operator.
    pub stderr: Vec<String>,
}

impl Headworks {
    /// Runs one for the time of `work`, then stops it, and checks its log and what it left.
    ///
    /// # Errors
    /// Those of `work`, then those of the checks; with the log.
    pub async fn run(config: Config, work: impl AsyncFnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let mut headworks = Self::start(&config).await?;
        let worked = work(&mut headworks).await;
        if worked.is_err() {
            return worked.with_context(|| headworks.story());
        }
        headworks.stop().await?;
        if config.mount.is_none() { audit(&config) } else { Ok(()) }
    }

    /// Starts one, and waits until it says where it listens.
    ///
    /// # Errors
    /// When it ends instead, or does not say so in time.
    pub async fn start(config: &Config) -> Result<Self> {
        match Self::try_start(config).await? {
            Ok(headworks) => Ok(headworks),
            Err(exit) => bail!("headworks ended instead of starting: {exit:#?}"),
        }
    }

    /// Starts one that may refuse to: then it is told how it ended.
    ///
    /// # Errors
    /// When it cannot be run at all, or neither starts nor ends in time.
    pub async fn try_start(config: &Config) -> Result<Result<Self, Exit>> {
        let mut command = command(config)?;
        let begin = Instant::now();
        let mut child = command.spawn().with_context(|| format!("run {command:?}"))?;
        let mut stdout = Lines::of(child.stdout.take().context("take stdout")?);
        let mut stderr = Lines::of(child.stderr.take().context("take stderr")?);
        let look = async || Ok((child.try_wait()?, addresses(&stdout.so_far())));
        let seen = until("headworks to say where it listens", DEADLINE, look, |(ended, addresses)| {
            ended.is_some() || addresses.is_some()
        });
        match seen.await {
            Ok((None, Some([listen, admin]))) => {
                let took = begin.elapsed();
                let config = config.clone();
                Ok(Ok(Self { child, config, stdout, stderr, listen, admin, took, ended: false }))
            }
            Ok((Some(status), _)) => {
                Ok(Err(Exit { code: status.code(), stdout: stdout.all(), stderr: stderr.all() }))
            }
            Ok((None, None)) => bail!("headworks neither started nor ended"),
            Err(error) => {
                child.kill()?;
                child.wait()?;
                Err(error.context(format!("stderr: {:#?}", stderr.all())))
            }
        }
    }

    /// Where uploads go.
    pub fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// Where its operators ask.
    pub fn operators(&self) -> SocketAddr {
        self.admin
    }

    /// From its first instruction until it said where it listens.
    pub fn took(&self) -> Duration {
        self.took
    }

    /// What it said to its user so far.
    pub fn banner(&self) -> Vec<String> {
        self.stdout.so_far()
    }

    /// What it logged so far.
    pub fn log(&self) -> Vec<String> {
        self.stderr.so_far()
    }

    /// A client of its public listener.
    pub fn client(&self) -> Client {
        Client::new(self.listen)
    }

    /// A client of its listener for operators.
    pub fn admin(&self) -> Client {
        Client::new(self.admin)
    }

    /// Its figures.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn metrics(&self) -> Result<Metrics> {
        let answer = self.admin().get("/metrics").send().await?.with_status(200)?;
        Ok(Metrics::parse(&String::from_utf8_lossy(&answer.body)))
    }

    /// Waits until nothing is in flight, buffered, queued or staged any more.
    ///
    /// # Errors
    /// When something is left at the deadline.
    pub async fn until_idle(&self) -> Result<()> {
        let look = async || Ok((self.metrics().await?.busy()?, remains::staged(&self.data())?));
        until("headworks to be idle", DEADLINE, look, |(busy, staged)| *busy == [0.0; 5] && staged.is_empty())
            .await
            .map(drop)
    }

    /// Makes sure that nothing came of what was sent: no object, no staged file, no row, nothing in flight.
    ///
    /// # Errors
    /// When there is something.
    pub async fn nothing_is_left(&self) -> Result<()> {
        self.until_idle().await?;
        let objects = remains::objects(&self.data())?;
        ensure!(objects.is_empty(), "objects were left: {objects:#?}");
        let rows = Rows::count(&self.config.data())?;
        ensure!(rows == Rows::default(), "rows were left: {rows:?}");
        Ok(())
    }

    /// Its data directory, as the process itself sees it.
    pub fn data(&self) -> PathBuf {
        match self.config.mount {
            None => self.config.data(),
            Some(_) => in_its_root(self.child.id(), &self.config.data()),
        }
    }

    /// Its memory, in bytes: `VmRSS` is what it has now, `VmHWM` the most it ever had.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn memory(&self, figure: &str) -> Result<u64> {
        memory(self.child.id(), figure)
    }

    /// How the runtime's threads are scheduled: niceness and policy of each, as `/proc/…/stat` gives them.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn scheduling(&self) -> Result<Vec<(i32, i32)>> {
        let mut all = Vec::new();
        for thread in std::fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            // The name, in parentheses, may hold anything; behind it the third field begins.
            let stat = std::fs::read_to_string(thread?.path().join("stat"))?;
            let (name, fields) = stat.rsplit_once(") ").context("no name")?;
            let field = |number: usize| fields.split(' ').nth(number - 3).context("too few fields");
            if name.contains("tokio") {
                all.push((field(19)?.parse()?, field(41)?.parse()?));
            }
        }
        Ok(all)
    }

    /// How many files and sockets it has open.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn open_files(&self) -> Result<u64> {
        Ok(std::fs::read_dir(format!("/proc/{}/fd", self.child.id()))?.count() as u64)
    }

    /// Sends SIGTERM.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn terminate(&self) -> Result<()> {
        self.signal(Signal::TERM)
    }

    /// Sends SIGSTOP, and waits until all of its threads stand still: from then on it says and does nothing more.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn freeze(&self) -> Result<()> {
        self.signal(Signal::STOP)?;
        waitpid(Some(self.pid()?), WaitOptions::UNTRACED)?;
        Ok(())
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill_process(self.pid()?, signal)?)
    }

    fn pid(&self) -> Result<Pid> {
        i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("a process id")
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it goes on.
    pub async fn exited(&mut self, within: Duration) -> Result<ExitStatus> {
        let look = async || Ok(self.child.try_wait()?);
        let status = until("headworks to end", within, look, Option::is_some).await;
        let status = status.with_context(|| story(&self.stderr.so_far()))?;
        self.ended = true;
        status.context("a status")
    }

    /// Stops it as systemd does, and checks its log.
    ///
    /// # Errors
    /// When it does not end in time, or not with 0, or its log has lines that nobody announced.
    pub async fn stop(mut self) -> Result<()> {
        self.terminate()?;
        let status = self.exited(DEADLINE).await?;
        ensure!(status.success(), "headworks ended with {status}; {}", self.story());
        self.check_log()
    }

    /// `kill -9`, then checks its log.
    ///
    /// # Errors
    /// When its log has lines that nobody announced.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        self.ended = true;
        self.check_log()
    }

    /// Checks the log of a process that has ended.
    ///
    /// # Errors
    /// When it has lines that nobody announced.
    pub fn check_log(&mut self) -> Result<()> {
        log::check(&self.stderr.all(), &self.config.announced())
    }

    fn story(&self) -> String {
        story(&self.stderr.so_far())
    }
}

impl Drop for Headworks {
    fn drop(&mut self) {
        if !self.ended {
            // Nobody is left to be told when it is gone already.
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

/// A process's memory, in bytes, by its name in `/proc/…/status`.
pub(crate) fn memory(process: u32, figure: &str) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(figure)?.strip_prefix(':'));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    Ok(kib.with_context(|| format!("no {figure} in {status}"))? * 1024)
}

/// Runs a command to its end, as a user would type it.
///
/// # Errors
/// When the binary cannot be run.
pub fn command_line(arguments: &[&str]) -> Result<Exit> {
    let output = Command::new(binary::headworks()?).args(arguments).stdin(Stdio::null()).output()?;
    let lines = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect();
    Ok(Exit { code: output.status.code(), stdout: lines(output.stdout), stderr: lines(output.stderr) })
}

/// Asks `headworks audit` about a data directory that nobody works on.
///
/// # Errors
/// When it finds something.
pub fn audit(config: &Config) -> Result<()> {
    let (data, file) = (config.data(), config.file()?);
    let exit = command_line(&["audit", "--config", path(&file)?, "--data-dir", path(&data)?])?;
    ensure!(exit.code == Some(0), "headworks audit found something: {exit:#?}");
    Ok(())
}

fn story(stderr: &[String]) -> String {
    const LINES: usize = 40;
    let last = stderr.get(stderr.len().saturating_sub(LINES)..).unwrap_or_default();
    format!("the log ends with:\n  {}", last.join("\n  "))
}
