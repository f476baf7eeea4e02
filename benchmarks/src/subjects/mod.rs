//! What is measured: Headworks, and beside it what others would use. Each runs alone, in a fresh folder, and is gone afterwards.

mod files;
mod headworks;
mod nginx;
mod pipeline;
mod place;
pub(crate) mod process;
mod s3s_fs;

use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::ValueEnum;
use tempfile::TempDir;
use tokio::time::Instant;

use self::process::Process;
pub(crate) use self::{
    headworks::{QUEUE_CAPACITY, Size},
    place::Place,
    s3s_fs::{Helper as S3sFs, serve as s3s_fs},
};
use crate::{
    fleet::{Programs, peers::Peer, rows},
    load::Api,
    measure::Tree,
    probe,
};

/// A program that takes uploads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Subject {
    /// Headworks in one process.
    Headworks,
    /// nginx with its WebDAV module.
    Nginx,
    /// rustus, a tus server in Rust.
    Rustus,
    /// @tus/server, the tus server in Node.
    Tus,
    /// dufs, a file server in Rust.
    Dufs,
    /// The library s3s-fs, an S3 server in Rust.
    S3sFs,
    /// A pipeline in Node: fastify, BullMQ, pg.
    Node,
    /// A pipeline in Python: uvicorn, arq, asyncpg.
    Python,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Headworks => "Headworks",
            Self::Nginx => "nginx",
            Self::Rustus => "rustus",
            Self::Tus => "@tus/server",
            Self::Dufs => "dufs",
            Self::S3sFs => "s3s-fs",
            Self::Node => "Node pipeline",
            Self::Python => "Python pipeline",
        })
    }
}

/// A subject in a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Contender {
    /// Who.
    pub subject: Subject,
    /// Where.
    pub place: Place,
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { subject, place } = self;
        match subject {
            Subject::Headworks => write!(f, "{subject}, {place}, {}", place.durability()),
            _ => write!(f, "{subject}, {place}"),
        }
    }
}

/// Where the subjects' programs and folders are.
#[derive(Clone, Debug)]
pub(crate) struct Paths {
    /// The program of Headworks.
    pub headworks: PathBuf,
    /// A folder on the disk that is measured.
    pub target: PathBuf,
}

impl Paths {
    /// The folder of all of Headworks' programs.
    fn programs(&self) -> Programs {
        Programs { folder: self.headworks.parent().map(Path::to_owned).unwrap_or_default() }
    }
}

impl Contender {
    /// Whether it is worth a run: on the disk only Headworks syncs, so one that does not is enough to see what the disk does.
    pub(crate) fn is_told_apart(self) -> bool {
        match self.place {
            Place::Memory => true,
            Place::Disk => matches!(self.subject, Subject::Headworks | Subject::Nginx),
            Place::Unsynced => self.subject == Subject::Headworks,
        }
    }

    /// Why it cannot run here, if it cannot.
    pub(crate) fn missing(self, paths: &Paths) -> Option<String> {
        let ours = !paths.headworks.is_file();
        let ours =
            ours.then(|| format!("{} is not there: build it with `make build`", paths.headworks.display()));
        match self.subject {
            Subject::Headworks => ours,
            Subject::Nginx => not_installed(nginx::program().is_some()),
            Subject::Rustus => not_installed(files::Server::Rustus.is_installed()),
            Subject::Tus => not_installed(files::Server::Tus.is_installed()),
            Subject::Dufs => not_installed(files::Server::Dufs.is_installed()),
            Subject::S3sFs => None,
            // It is `headworks migrate` that makes their tables.
            Subject::Node => Peer::NODE.missing().or(ours),
            Subject::Python => Peer::PYTHON.missing().or(ours),
        }
    }

    /// Starts it, and waits until it is ready.
    ///
    /// # Errors
    /// When its folder cannot be made or it is not ready after 30 s.
    pub(crate) async fn start(self, paths: &Paths) -> anyhow::Result<Started> {
        self.start_with(paths, Size::Ample).await
    }

    /// Starts it, made for so much: only Headworks has a size.
    ///
    /// # Errors
    /// When its folder cannot be made or it is not ready after 30 s.
    pub(crate) async fn start_with(self, paths: &Paths, size: Size) -> anyhow::Result<Started> {
        let Self { subject, place } = self;
        let folder = place.folder(&paths.target)?;
        let at = folder.path();
        let running = match subject {
            Subject::Headworks => headworks::start(&paths.headworks, at, place, size).await?,
            Subject::Nginx => nginx::start(at).await?,
            Subject::Rustus => files::Server::Rustus.start(at).await?,
            Subject::Tus => files::Server::Tus.start(at).await?,
            Subject::Dufs => files::Server::Dufs.start(at).await?,
            Subject::S3sFs => s3s_fs::start(at).await?,
            Subject::Node => pipeline::start(Peer::NODE, &paths.programs(), at).await?,
            Subject::Python => pipeline::start(Peer::PYTHON, &paths.programs(), at).await?,
        };
        Ok(Started { running, _folder: folder })
    }
}

fn not_installed(is_there: bool) -> Option<String> {
    (!is_there).then(|| "it is not installed: see benchmarks/peers/install".to_owned())
}

/// Where and how a subject takes uploads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Intake {
    /// Where.
    pub at: SocketAddr,
    /// What the paths of uploads begin with.
    pub prefix: &'static str,
    /// In which requests.
    pub api: Api,
}

impl Intake {
    /// One that takes PUTs.
    fn put(at: SocketAddr, prefix: &'static str) -> Self {
        Self { at, prefix, api: Api::Put }
    }
}

/// What a subject does with an upload after its answer.
#[derive(Debug)]
enum Rest {
    /// Nothing.
    Nothing,
    /// Headworks tells at this address what it has still to do.
    Told(SocketAddr),
    /// Its rows show it.
    Rows(Box<pipeline::Servers>),
}

/// A subject that takes uploads.
#[derive(Debug)]
pub(crate) struct Running {
    // Dropped before the servers that they work with.
    processes: Vec<Process>,
    rest: Rest,
    /// Where and how it takes uploads.
    pub intake: Intake,
}

impl Running {
    /// Its processes.
    pub(crate) fn tree(&self) -> Tree {
        Tree::of(self.processes.iter().map(Process::pid))
    }

    /// Waits until so many acknowledged uploads have their metadata; how long that took. Most subjects have none.
    ///
    /// # Errors
    /// When it is not there after `patience`.
    pub(crate) async fn settled(
        &self,
        acknowledged: u64,
        patience: Duration,
    ) -> anyhow::Result<Option<Duration>> {
        let begun = Instant::now();
        match &self.rest {
            Rest::Nothing => return Ok(None),
            Rest::Told(admin) => probe::settled(*admin, acknowledged, patience).await?,
            Rest::Rows(servers) => {
                rows::all_stored(&servers.database, acknowledged, patience, || Ok(())).await?;
            }
        }
        Ok(Some(begun.elapsed()))
    }
}

/// A running subject and its folder; when it is dropped the subject ends first, and then its folder goes.
#[derive(Debug)]
pub(crate) struct Started {
    /// The subject.
    pub running: Running,
    _folder: TempDir,
}
