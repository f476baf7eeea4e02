//! The files of a store, for the threads that work on them.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::{
    attribute,
    folders::{Folders, Synced},
    stage::{Stage, Staged},
};
use crate::storage::Key;

/// A store's folder, and what is in it.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) root: PathBuf,
    pub(super) stage: Stage,
    folders: Folders,
    fsync: bool,
}

/// A name that was given, by this put or by another one before.
pub(super) struct Published {
    pub(super) new: bool,
    pub(super) synced: Synced,
}

impl Tree {
    pub(super) fn new(root: &Path, stage: Stage, fsync: bool) -> Self {
        Self { root: root.to_owned(), stage, folders: Folders::new(fsync), fsync }
    }

    pub(super) fn path(&self, key: &Key) -> PathBuf {
        self.root.join(key.as_str())
    }

    /// Gives a staged file its name, unless that is taken.
    pub(super) fn publish(&self, key: &Key, attribute: &[u8], staged: Staged) -> io::Result<Published> {
        if !attribute.is_empty() {
            attribute::write(staged.file(), attribute)?;
        }
        if self.fsync {
            rustix::fs::fdatasync(staged.file())?;
        }
        let place = self.path(key);
        let folder = place.parent().unwrap_or(&self.root);
        self.folders.make(&self.root, folder)?;
        let new = match staged.place(&place) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            Err(error) => {
                // It may have been removed behind our back; the next put makes it again.
                self.folders.forget(folder);
                return Err(error);
            }
        };
        // Also where another was quicker: its own sync may still be on its way.
        Ok(Published { new, synced: self.folders.sync(folder) })
    }

    /// Syncs the folder of a file; one that is not there needs no sync.
    pub(super) fn sync_folder_of(&self, place: &Path) -> io::Result<Synced> {
        let folder = place.parent().unwrap_or(&self.root);
        Ok(if folder.try_exists()? { self.folders.sync(folder) } else { Synced::nothing() })
    }

    /// A file that is not there is not there; unless the whole store is gone, which says nothing about its files.
    pub(super) fn judge<T>(&self, result: io::Result<T>) -> io::Result<T> {
        match result {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.here()?;
                Err(error)
            }
            result => result,
        }
    }

    /// Whether the store is there at all: a disk that is not mounted leaves an empty folder behind.
    pub(super) fn here(&self) -> io::Result<()> {
        if self.stage.is_there() {
            return Ok(());
        }
        Err(io::Error::other(format!(
            "the folder {} is gone, or its disk is not mounted",
            self.root.display()
        )))
    }
}
