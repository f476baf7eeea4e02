//! What is measured: Headworks, and beside it what others would use. Each runs alone, in a fresh folder, and is gone afterwards.

mod headworks;
mod nginx;
pub(crate) mod process;

use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::ValueEnum;
use serde::Deserialize;
use tempfile::TempDir;

pub(crate) use self::headworks::QUEUE_CAPACITY;
use crate::measure::Tree;

/// A program that takes uploads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Subject {
    /// Headworks in one process.
    Headworks,
    /// nginx with its WebDAV module.
    Nginx,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Headworks => "Headworks",
            Self::Nginx => "nginx",
        })
    }
}

/// Where the subject's data is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Place {
    /// In memory (`/dev/shm`), and Headworks does not wait for the disk: the cost of the program alone.
    Memory,
    /// On the disk of `target/`, and Headworks answers when the bytes are safe.
    Disk,
}

impl Place {
    /// Headworks' `storage.durability` there.
    pub(crate) fn durability(self) -> &'static str {
        match self {
            Self::Memory => "none",
            Self::Disk => "fsync",
        }
    }

    /// A fresh folder, removed when it is dropped.
    fn folder(self, target: &Path) -> anyhow::Result<TempDir> {
        let parent = match self {
            Self::Memory => Path::new("/dev/shm"),
            Self::Disk => target,
        };
        tempfile::Builder::new()
            .prefix("headworks-bench-")
            .tempdir_in(parent)
            .with_context(|| format!("create a folder in {}", parent.display()))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "memory",
            Self::Disk => "disk",
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
            Subject::Nginx => write!(f, "{subject}, {place}"),
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

impl Contender {
    /// Why it cannot run here, if it cannot.
    pub(crate) fn missing(self, paths: &Paths) -> Option<String> {
        match self.subject {
            Subject::Headworks if !paths.headworks.is_file() => {
                Some(format!("{} is not there: build it with `make build`", paths.headworks.display()))
            }
            Subject::Nginx if nginx::program().is_none() => {
                Some("nginx is not installed: see benchmarks/peers/install".into())
            }
            Subject::Headworks | Subject::Nginx => None,
        }
    }

    /// Starts it, and waits until it is ready.
    ///
    /// # Errors
    /// When its folder cannot be made or it is not ready after 30 s.
    pub(crate) async fn start(self, paths: &Paths) -> anyhow::Result<Started> {
        let folder = self.place.folder(&paths.target)?;
        let running = match self.subject {
            Subject::Headworks => headworks::start(&paths.headworks, folder.path(), self.place).await?,
            Subject::Nginx => nginx::start(folder.path()).await?,
        };
        Ok(Started { running, _folder: folder })
    }
}

/// A subject that takes uploads.
#[derive(Debug)]
pub(crate) struct Running {
    process: process::Process,
    /// Where it takes them.
    pub target: SocketAddr,
    /// What the paths of uploads begin with.
    pub prefix: &'static str,
    /// Where Headworks tells its queue's depth; the others have none.
    pub admin: Option<SocketAddr>,
}

impl Running {
    /// Its processes.
    pub(crate) fn tree(&self) -> Tree {
        self.process.tree()
    }
}

/// A running subject and its folder; when it is dropped the subject ends first, and then its folder goes.
#[derive(Debug)]
pub(crate) struct Started {
    /// The subject.
    pub running: Running,
    _folder: TempDir,
}
