//! What the store needs of its file system, tried out before the first upload.

use std::{
    fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use tracing::debug;

use super::{
    attribute::{self, MAX_BYTES},
    stage::{STAGE, Stage, Staged},
};
use crate::report::Report;

/// The folder cannot hold a store.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// It cannot be made or written to.
    #[error("write to the folder {}", folder.display())]
    Write {
        /// Which folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no store in it, and there should be.
    #[error(
        "the folder {} holds no store of Headworks, but uploads in it are known: mount its disk, or mend storage.url; where the \
         objects are lost for good, make the folder {} by hand",
        folder.display(), folder.join(STAGE).display()
    )]
    Gone {
        /// Which folder.
        folder: PathBuf,
    },
    /// No extended attributes.
    #[error(
        "the file system of {} keeps no extended attributes of {MAX_BYTES} bytes, and objects keep their envelope in one: use ext4, xfs, btrfs, or tmpfs of Linux 6.6 or later",
        folder.display()
    )]
    NoAttributes {
        /// Which folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No `renameat2` with `RENAME_NOREPLACE`.
    #[error("the file system of {} cannot rename without replacing: use ext4, xfs, btrfs or tmpfs", folder.display())]
    NoCreateOnly {
        /// Which folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Makes the store's folder.
pub(super) fn prepare(root: &Path) -> Result<(), ProbeError> {
    fs::create_dir_all(root).map_err(|source| ProbeError::Write { folder: root.to_owned(), source })
}

/// Whether there is a store in the folder.
pub(super) fn find(root: &Path) -> Result<(), ProbeError> {
    if Stage::of(root).is_there() { Ok(()) } else { Err(ProbeError::Gone { folder: root.to_owned() }) }
}

/// Writes a file, gives it an attribute, and renames it twice: the second time must fail.
pub(super) fn try_out(root: &Path, stage: &Stage) -> Result<(), ProbeError> {
    try_files(root, || stage.create())
}

/// Has whole bodies written to files without names, where the file system and the kernel know them: `O_TMPFILE`, and `AT_EMPTY_PATH`,
/// which takes Linux 6.10 or `CAP_DAC_READ_SEARCH` (linkat(2)).
pub(super) fn without_names(root: &Path, stage: Stage) -> Stage {
    match try_files(root, || stage.create_nameless()) {
        Ok(()) => stage.without_names(),
        Err(error) => {
            debug!(error = %Report(&error), "small bodies have names before their place");
            stage
        }
    }
}

fn try_files(root: &Path, create: impl Fn() -> io::Result<Staged>) -> Result<(), ProbeError> {
    let folder = || root.to_owned();
    let write = |source| ProbeError::Write { folder: folder(), source };
    let place = place(root);
    let first = create().map_err(write)?;
    attribute::write(first.file(), &[b'x'; MAX_BYTES])
        .map_err(|source| ProbeError::NoAttributes { folder: folder(), source })?;
    first.place(&place).map_err(|source| ProbeError::NoCreateOnly { folder: folder(), source })?;
    let second = create().map_err(write)?.place(&place);
    fs::remove_file(&place).map_err(write)?;
    match second {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(source) => Err(ProbeError::NoCreateOnly { folder: folder(), source }),
        Ok(()) => Err(ProbeError::NoCreateOnly {
            folder: folder(),
            source: io::Error::other("a file was replaced"),
        }),
    }
}

/// A name of its own: others may be opening the store at the same time.
fn place(root: &Path) -> PathBuf {
    root.join(STAGE).join(format!("probe-{:032x}", fastrand::u128(..)))
}

/// The part of the disk that is free for this process, 0 to 1.
#[expect(clippy::cast_precision_loss, reason = "a ratio needs no more than 52 bits")]
pub(super) fn free_ratio(root: &Path) -> io::Result<f64> {
    let disk = rustix::fs::statvfs(root)?;
    if disk.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY) {
        return Err(ErrorKind::ReadOnlyFilesystem.into());
    }
    Ok(if disk.f_blocks == 0 { 1.0 } else { disk.f_bavail as f64 / disk.f_blocks as f64 })
}
