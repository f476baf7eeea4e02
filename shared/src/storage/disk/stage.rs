//! Staged files: bodies that are still coming. They are removed when their upload breaks off, and swept when it crashed.

use std::{
    fs::{self, DirEntry, File, OpenOptions},
    io::{self, IoSlice, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use rustix::fs::{Advice, AtFlags, CWD, Mode, OFlags, RenameFlags};
use uuid::Uuid;

/// The folder of staged files, below the store's root: in the same file system, so that a rename is all it takes.
pub(super) const STAGE: &str = ".stage";

/// The kernel is told to begin writing a large body out after each of these, so that the last sync has little left to do.
const WRITEBACK_EVERY: u64 = 8 << 20;

/// Where staged files are made: in 256 folders, so that makers seldom wait for each other; each folder when it is first used.
#[derive(Debug)]
pub(super) struct Stage {
    root: PathBuf,
    nameless: bool,
}

impl Stage {
    /// Makes the folder if need be.
    pub(super) fn open(store: &Path) -> io::Result<Self> {
        let stage = Self::of(store);
        fs::create_dir_all(&stage.root)?;
        Ok(stage)
    }

    /// The stage of a store, made or not.
    pub(super) fn of(store: &Path) -> Self {
        Self { root: store.join(STAGE), nameless: false }
    }

    /// The same, where files of whole bodies have no name before they are in place.
    pub(super) fn without_names(self) -> Self {
        Self { nameless: true, ..self }
    }

    /// Makes a file of a body that is here as a whole.
    pub(super) fn write_whole(&self, body: &[Bytes]) -> io::Result<Staged> {
        let mut staged = if self.nameless { self.create_nameless() } else { self.create() }?;
        staged.write(body)?;
        Ok(staged)
    }

    /// Writes behind what was written, into a file that is made if need be.
    pub(super) fn write_behind(&self, staged: Option<Staged>, chunks: &[Bytes]) -> io::Result<Staged> {
        let mut staged = staged.map_or_else(|| self.create(), Ok)?;
        staged.write(chunks)?;
        Ok(staged)
    }

    /// Makes an empty file that has no name. It costs less than to rename one, and a crash leaves nothing to sweep.
    pub(super) fn create_nameless(&self) -> io::Result<Staged> {
        let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
        let shard = self.root.join(format!("{:02x}", fastrand::u8(..)));
        let file = in_folder(&shard, || Ok(rustix::fs::open(&shard, flags, Mode::from_raw_mode(0o666))?))?;
        Ok(Staged::new(file.into(), None))
    }

    /// Makes an empty staged file.
    pub(super) fn create(&self) -> io::Result<Staged> {
        let name = Uuid::from_u128(fastrand::u128(..));
        let mut text = Uuid::encode_buffer();
        let text = name.hyphenated().encode_lower(&mut text);
        let shard = self.root.join(text.split_at(2).0);
        let path = shard.join(text);
        let file = in_folder(&shard, || OpenOptions::new().write(true).create_new(true).open(&path))?;
        Ok(Staged::new(file, Some(path)))
    }

    /// Whether the folder is there.
    pub(super) fn is_there(&self) -> bool {
        self.root.is_dir()
    }

    /// Removes staged files that nobody has written to for `idle`.
    pub(super) fn sweep(&self, idle: Duration) -> io::Result<u64> {
        let mut removed = 0;
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                for staged in fs::read_dir(entry.path())? {
                    removed += remove_idle(&staged?, idle)?;
                }
            } else {
                removed += remove_idle(&entry, idle)?;
            }
        }
        Ok(removed)
    }
}

/// Removes a file that nobody has written to for `idle`; says of how many that is true. One that vanishes was not left behind.
fn remove_idle(entry: &DirEntry, idle: Duration) -> io::Result<u64> {
    let Ok(metadata) = entry.metadata() else { return Ok(0) };
    let untouched = metadata.modified()?.elapsed().unwrap_or_default();
    Ok(u64::from(untouched >= idle && fs::remove_file(entry.path()).is_ok()))
}

/// Opens a file in a folder that is made if need be.
fn in_folder<T>(folder: &Path, open: impl Fn() -> io::Result<T>) -> io::Result<T> {
    match open() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make_folder(folder)?;
            open()
        }
        file => file,
    }
}

/// Only the folder itself: where the one above is gone, so is the disk.
fn make_folder(folder: &Path) -> io::Result<()> {
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// A staged file; removed when dropped before it is in place.
#[derive(Debug)]
pub(super) struct Staged {
    file: File,
    path: Option<PathBuf>,
    written: u64,
    handed_over: u64,
}

impl Staged {
    fn new(file: File, path: Option<PathBuf>) -> Self {
        Self { file, path, written: 0, handed_over: 0 }
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Appends the chunks.
    pub(super) fn write(&mut self, chunks: &[Bytes]) -> io::Result<()> {
        let mut slices: Vec<IoSlice<'_>> = chunks.iter().map(|chunk| IoSlice::new(chunk)).collect();
        self.append(&mut slices)
    }

    /// Appends the pieces.
    pub(super) fn append(&mut self, pieces: &mut [IoSlice<'_>]) -> io::Result<()> {
        let mut rest = pieces;
        // Passes over what is empty.
        IoSlice::advance_slices(&mut rest, 0);
        let mut file = &self.file;
        let mut written = 0;
        while !rest.is_empty() {
            let bytes = match file.write_vectored(rest) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            if bytes == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            written += bytes as u64;
            IoSlice::advance_slices(&mut rest, bytes);
        }
        self.written += written;
        self.begin_writeback()
    }

    /// `POSIX_FADV_DONTNEED` starts asynchronous writeback of the range (mm/fadvise.c), as `sync_file_range` would, without waiting.
    fn begin_writeback(&mut self) -> io::Result<()> {
        let pending = self.written - self.handed_over;
        if pending >= WRITEBACK_EVERY {
            rustix::fs::fadvise(
                &self.file,
                self.handed_over,
                std::num::NonZeroU64::new(pending),
                Advice::DontNeed,
            )?;
            self.handed_over = self.written;
        }
        Ok(())
    }

    /// Gives the file its name, unless that is taken.
    pub(super) fn place(mut self, place: &Path) -> io::Result<()> {
        match &self.path {
            Some(path) => rustix::fs::renameat_with(CWD, path, CWD, place, RenameFlags::NOREPLACE)?,
            None => rustix::fs::linkat(&self.file, "", CWD, place, AtFlags::EMPTY_PATH)?,
        }
        self.path = None;
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if let Some(path) = self.path.take() {
            // What cannot be removed now is swept later.
            drop(fs::remove_file(path));
        }
    }
}
