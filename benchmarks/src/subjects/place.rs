//! Where a subject's data is kept.

use std::{fmt, path::Path};

use anyhow::Context as _;
use clap::ValueEnum;
use serde::Deserialize;
use tempfile::TempDir;

/// Where the subject's data is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Place {
    /// In memory (`/dev/shm`), and Headworks does not wait for the disk: the cost of the program alone.
    Memory,
    /// On the disk of `target/`, and Headworks answers when the bytes are safe.
    Disk,
    /// On the same disk, and Headworks does not wait for it: what its waiting costs is between the two.
    Unsynced,
}

impl Place {
    /// Headworks' `storage.durability` there.
    pub(crate) fn durability(self) -> &'static str {
        match self {
            Self::Memory | Self::Unsynced => "none",
            Self::Disk => "fsync",
        }
    }

    /// Whether what is kept there stands and falls with the same device.
    pub(crate) fn is_beside(self, other: Self) -> bool {
        (self == Self::Memory) == (other == Self::Memory)
    }

    /// A fresh folder, removed when it is dropped.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn folder(self, target: &Path) -> anyhow::Result<TempDir> {
        let parent = match self {
            Self::Memory => Path::new("/dev/shm"),
            Self::Disk | Self::Unsynced => target,
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
            Self::Disk | Self::Unsynced => "disk",
        })
    }
}
