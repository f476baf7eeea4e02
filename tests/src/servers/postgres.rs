//! PostgreSQL: `initdb` runs once for all servers that live at the same time, each of which begins as a copy. Most tests share one
//! server and have a database of their own; those that stop it, or make it hang, start one for themselves.

use std::{
    net::SocketAddr,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use rustix::{
    io::Errno,
    process::{Pid, Signal, kill_process},
};
use tempfile::TempDir;
use tokio::sync::Mutex;
use tokio_postgres::NoTls;

use super::{Server, free_address, give_away, program};
use crate::{DEADLINE, until};

/// Where Debian keeps the programs; the newest first.
const FOLDERS: [&str; 5] = [
    "/usr/lib/postgresql/18/bin",
    "/usr/lib/postgresql/17/bin",
    "/usr/lib/postgresql/16/bin",
    "/usr/lib/postgresql/15/bin",
    "/usr/lib/postgresql/14/bin",
];

/// Nothing needs to survive the machine, and many tests connect at once.
const QUICK: [&str; 5] =
    ["fsync=off", "full_page_writes=off", "max_connections=300", "shared_buffers=64MB", "max_wal_size=4GB"];

/// A server of one's own, killed when dropped.
#[derive(Debug)]
pub struct Postgres {
    // Dropped before the folder that it works in.
    server: Option<Server>,
    address: SocketAddr,
    settings: Vec<String>,
    folder: TempDir,
    user: Option<u32>,
    databases: AtomicU64,
    _template: Arc<Template>,
}

impl Postgres {
    /// Starts a server that does not sync.
    ///
    /// # Errors
    /// When it is not installed or does not start.
    pub async fn start() -> Result<Self> {
        Self::start_with(&QUICK).await
    }

    /// Starts a server with these settings (`name=value`).
    ///
    /// # Errors
    /// When it is not installed or does not start.
    pub async fn start_with(settings: &[&str]) -> Result<Self> {
        let template = template().await?;
        let folder = TempDir::with_prefix("headworks-postgres-")?;
        let user = give_away(folder.path())?;
        run(as_user("cp", user).arg("-a").arg(template.data()).arg(folder.path()))?;
        let mut postgres = Self {
            server: None,
            address: free_address()?,
            settings: settings.iter().map(|setting| (*setting).to_owned()).collect(),
            folder,
            user,
            databases: AtomicU64::new(0),
            _template: template,
        };
        postgres.restart().await?;
        Ok(postgres)
    }

    /// The server that tests share which do it no harm.
    ///
    /// # Errors
    /// When it is not installed or does not start.
    pub async fn shared() -> Result<Arc<Self>> {
        static SHARED: Mutex<Weak<Postgres>> = Mutex::const_new(Weak::new());
        let mut shared = SHARED.lock().await;
        if let Some(running) = shared.upgrade() {
            return Ok(running);
        }
        let started = Arc::new(Self::start().await?);
        *shared = Arc::downgrade(&started);
        Ok(started)
    }

    /// Starts it (again), on the same port and with the same data.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn restart(&mut self) -> Result<()> {
        self.server = None;
        let mut command = as_user(program("postgres", &FOLDERS)?, self.user);
        command.arg("-D").arg(self.data()).args([
            "-c",
            "unix_socket_directories=",
            "-c",
            "listen_addresses=127.0.0.1",
        ]);
        command.arg("-c").arg(format!("port={}", self.address.port()));
        for setting in &self.settings {
            command.args(["-c", setting]);
        }
        self.server = Some(Server::start("postgres", command, self.folder.path(), self.address).await?);
        let url = self.url("postgres");
        let look = async || Ok(tokio_postgres::connect(&url, NoTls).await.is_ok());
        until("postgres to let us in", DEADLINE, look, |up| *up).await.map(drop)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of a database.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@{}/{database}", self.address)
    }

    /// Makes an empty database, and gives its name.
    ///
    /// # Errors
    /// When the server says no.
    pub async fn database(&self) -> Result<String> {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.say("postgres", &format!("CREATE DATABASE {name}")).await?;
        Ok(name)
    }

    /// Says something to a database, on a connection of its own, and gives the first column of each row as text.
    ///
    /// # Errors
    /// When the server says no.
    pub async fn say(&self, database: &str, sql: &str) -> Result<Vec<String>> {
        let rows = self.connect(database).await?.simple_query(sql).await?;
        let text = rows.iter().filter_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        });
        Ok(text.collect())
    }

    /// Ends the connections of all processes of Headworks.
    ///
    /// # Errors
    /// When it cannot be asked to.
    pub async fn cut(&self) -> Result<()> {
        let end =
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'headworks'";
        self.say("postgres", end).await.map(drop)
    }

    /// A connection, as anybody has it.
    ///
    /// # Errors
    /// When the server says no.
    #[expect(clippy::disallowed_methods, reason = "a connection's task ends with its client")]
    pub async fn connect(&self, database: &str) -> Result<tokio_postgres::Client> {
        let (client, connection) = tokio_postgres::connect(&self.url(database), NoTls).await?;
        tokio::spawn(async move { drop(connection.await) });
        Ok(client)
    }

    /// Ends it at once and lets every connection fall, as when its machine loses power: what was committed is there again after
    /// [`Postgres::restart`].
    ///
    /// # Errors
    /// When it does not end in time.
    pub async fn stop_at_once(&mut self) -> Result<()> {
        let mut server = self.server.take().context("it does not run")?;
        server.end(Signal::QUIT).await
    }

    /// Sends a signal to it and all its processes, each of which has a group of its own: `STOP` makes it hang, `CONT` go on.
    ///
    /// # Errors
    /// When it is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let main = self.main_process()?;
        kill_process(main, signal)?;
        for child in children(main)? {
            match kill_process(child, signal) {
                // One that ended meanwhile needs no signal.
                Ok(()) | Err(Errno::SRCH) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// The processor time that its processes have used, as far as they are there.
    ///
    /// # Errors
    /// When it is gone.
    pub fn cpu(&self) -> Result<Duration> {
        let main = self.main_process()?;
        let all = children(main)?.into_iter().chain([main]);
        Ok(all.map(cpu_of).sum())
    }

    /// What it said so far.
    pub fn said(&self) -> String {
        self.server.as_ref().map(Server::said).unwrap_or_default()
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn main_process(&self) -> Result<Pid> {
        let text = std::fs::read_to_string(self.data().join("postmaster.pid"))?;
        let number = text.lines().next().and_then(|line| line.trim().parse().ok());
        number.and_then(Pid::from_raw).context("postmaster.pid begins with a process id")
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Its processes end by themselves once the first one is gone, but not before they are awake, and not at the same moment.
        if self.server.is_some() && self.signal(Signal::CONT).is_ok() && self.signal(Signal::QUIT).is_ok() {
            let gone = || !self.data().join("postmaster.pid").exists();
            for _ in 0..500 {
                if gone() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

/// What `initdb` made.
#[derive(Debug)]
struct Template {
    folder: TempDir,
}

impl Template {
    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }
}

async fn template() -> Result<Arc<Template>> {
    static TEMPLATE: Mutex<Weak<Template>> = Mutex::const_new(Weak::new());
    let mut template = TEMPLATE.lock().await;
    if let Some(made) = template.upgrade() {
        return Ok(made);
    }
    let folder = TempDir::with_prefix("headworks-initdb-")?;
    let user = give_away(folder.path())?;
    let mut command = as_user(program("initdb", &FOLDERS)?, user);
    command.args([
        "--no-sync",
        "--no-instructions",
        "--auth=trust",
        "--username=postgres",
        "--encoding=UTF8",
    ]);
    run(command.args(["--locale=C.UTF-8", "--pgdata"]).arg(folder.path().join("data")))?;
    let made = Arc::new(Template { folder });
    *template = Arc::downgrade(&made);
    Ok(made)
}

/// A command that runs as the user whom servers run as.
pub(super) fn as_user(program: impl AsRef<Path>, user: Option<u32>) -> Command {
    let mut command = Command::new(program.as_ref());
    command.current_dir("/");
    if let Some(user) = user {
        command.uid(user).gid(user);
    }
    command
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("run {command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// The processor time that a process has used; none when it has ended.
pub fn cpu_of(process: Pid) -> Duration {
    let text =
        std::fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero())).unwrap_or_default();
    let behind = text.rsplit(')').next().unwrap_or_default();
    let ticks: u64 =
        behind.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    // Linux counts in hundredths of a second.
    Duration::from_millis(ticks * 10)
}

/// The processes that a process has started.
fn children(parent: Pid) -> Result<Vec<Pid>> {
    let parent = parent.as_raw_nonzero().to_string();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let path = entry?.path();
        let number = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
        let Some(pid) = number.and_then(Pid::from_raw) else { continue };
        // `pid (name) state ppid …`; one that has ended meanwhile has no file.
        let text = std::fs::read_to_string(path.join("stat")).unwrap_or_default();
        let behind = text.rsplit(')').next().unwrap_or_default();
        if behind.split_whitespace().nth(1) == Some(&parent) {
            found.push(pid);
        }
    }
    Ok(found)
}
