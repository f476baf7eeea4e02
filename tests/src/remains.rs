//! What is left on the disk below a data directory.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

/// The finished objects.
///
/// # Errors
/// When the folder cannot be read.
pub fn objects(data: &Path) -> Result<Vec<PathBuf>> {
    files(&data.join("objects/o"))
}

/// The staged files: bodies that are still coming, or were left behind.
///
/// # Errors
/// When the folder cannot be read.
pub fn staged(data: &Path) -> Result<Vec<PathBuf>> {
    files(&data.join("objects/.stage"))
}

/// The markers of idempotency keys.
///
/// # Errors
/// When the folder cannot be read.
pub fn markers(data: &Path) -> Result<Vec<PathBuf>> {
    files(&data.join("objects/k"))
}

/// All files below a folder; a file that goes while one looks is none.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            entries => entries.with_context(|| format!("look into {}", folder.display()))?,
        };
        for entry in entries {
            let entry = entry?;
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(entry.path());
            } else {
                found.push(entry.path());
            }
        }
    }
    Ok(found)
}
