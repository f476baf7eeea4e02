//! The servers that a fleet stands on, for real: each test that needs one starts its own, on a free port of 127.0.0.1, in a folder that
//! goes when the test ends. A program that is not installed is an error, never a test that is skipped: `make test` installs them.

pub mod certificates;
pub mod fault;
pub mod nginx;
pub mod pgbouncer;
pub mod postgres;
pub mod prometheus;
pub mod redis;
pub mod s3;

use std::{
    fs::File,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    ops::Range,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        LazyLock,
        atomic::{AtomicU16, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::{DEADLINE, binary::environment, until};

/// A server under test: a process group of its own, killed when dropped.
#[derive(Debug)]
pub struct Server {
    name: &'static str,
    address: SocketAddr,
    child: Child,
    output: PathBuf,
}

impl Server {
    /// Starts `command`, whose output goes to a file in `folder`, and waits until `address` takes a connection.
    ///
    /// # Errors
    /// When it cannot be run, or ends, or takes none in time; with what it said.
    pub async fn start(
        name: &'static str,
        mut command: Command,
        folder: &Path,
        address: SocketAddr,
    ) -> Result<Self> {
        let output = folder.join(format!("{name}.log"));
        let log = File::options().create(true).append(true).open(&output)?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
        let child = command.spawn().with_context(|| format!("run {command:?}"))?;
        let mut server = Self { name, address, child, output };
        let look = async || {
            if let Some(status) = server.child.try_wait()? {
                bail!("{name} ended with {status}: {}", server.said());
            }
            Ok(TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok())
        };
        let up = until(&format!("{name} to listen on {address}"), 3 * DEADLINE, look, |up| *up).await;
        up.with_context(|| server.said())?;
        Ok(server)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal to it and all its children: `STOP` makes it hang, `CONT` go on.
    ///
    /// # Errors
    /// When it is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let group = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("a process id")?;
        kill_process_group(group, signal).with_context(|| format!("signal {}", self.name))
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// When it is gone already.
    pub fn kill(&mut self) -> Result<()> {
        self.signal(Signal::KILL)?;
        self.child.wait()?;
        Ok(())
    }

    /// The processor time that it has used, its children not counted.
    pub fn cpu(&self) -> Duration {
        let process = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        process.map(postgres::cpu_of).unwrap_or_default()
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Ends it with `signal`, and waits until it has ended.
    ///
    /// # Errors
    /// When it is gone already, or does not end in time.
    pub async fn end(&mut self, signal: Signal) -> Result<()> {
        self.signal(signal)?;
        let look = async || Ok(self.child.try_wait()?.is_some());
        until(&format!("{} to end", self.name), DEADLINE, look, |ended| *ended).await.map(drop)
    }

    /// What it said so far.
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.output).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nobody is left to be told when it is gone already.
        if matches!(self.child.try_wait(), Ok(None)) {
            drop(self.kill());
        }
    }
}

/// An address of 127.0.0.1 that nobody listens on, and that this process gives to nobody else.
///
/// It is below the ports that Linux gives to clients (32,768 and up): a server may be down, or not up yet, while a thousand connections
/// are made beside it, and none of them takes its place.
///
/// # Errors
/// When all are taken.
pub fn free_address() -> Result<SocketAddr> {
    const PORTS: Range<u16> = 10_240..32_768;
    static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| AtomicU16::new(fastrand::u16(PORTS)));
    for _ in PORTS {
        let next = |port| if PORTS.contains(&(port + 1)) { port + 1 } else { PORTS.start };
        let port = NEXT.update(Relaxed, Relaxed, next);
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            return Ok(listener.local_addr()?);
        }
    }
    bail!("no port of {PORTS:?} is free")
}

/// Finds a program in `PATH`, or in one of the folders where Debian keeps what is not in it.
///
/// # Errors
/// When it is not installed.
pub fn program(name: &str, folders: &[&str]) -> Result<PathBuf> {
    let path = environment("PATH").unwrap_or_default();
    let found = folders.iter().copied().chain(path.split(':')).map(|folder| Path::new(folder).join(name));
    let found = found.into_iter().find(|file| file.is_file());
    found.with_context(|| format!("{name} is not installed: `tests/install` does it"))
}

/// Gives a folder to the user whom servers run as that refuse to be root; says who that is, if we are root.
///
/// # Errors
/// When it cannot be given away.
pub fn give_away(folder: &Path) -> Result<Option<u32>> {
    /// Debian's `nobody`.
    const NOBODY: u32 = 65_534;
    if !rustix::process::getuid().is_root() {
        return Ok(None);
    }
    std::os::unix::fs::chown(folder, Some(NOBODY), Some(NOBODY))?;
    ensure!(folder.is_dir(), "{} is no folder", folder.display());
    Ok(Some(NOBODY))
}
