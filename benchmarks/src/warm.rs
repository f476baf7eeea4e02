//! Memory that this machine has, and keeps.
//!
//! The host of a guest gives it memory at the first touch, which takes up to four times as long as the copy itself, and takes back whole
//! blocks soon after they were freed (free page reporting, in Linux blocks of 2 MiB or more). A run that fills memory would measure its
//! host. So before the first one as much of it is written as a run may fill, and of that one page in each MiB is kept.

use std::{
    fs::File,
    io::{self, Read as _},
    sync::{Mutex, PoisonError},
};

use anyhow::Context as _;
use rustix::fs::{FallocateFlags, fallocate};

use crate::machine::available_memory;

/// What a page says of [`warm`].
pub(crate) const WARMED: &str = "Before the first run as much memory is written as a run may fill, and one page in each MiB of it is kept: the host \
    of a guest gives it memory at the first touch, which took up to four times as long as the copy itself, and takes back what is free in large blocks.";

/// Of each of these one page is kept.
const BLOCK: u64 = 1 << 20;
const PAGE: u64 = 4 << 10;

/// What is kept, and how many bytes were written of it.
static KEPT: Mutex<Option<(File, u64)>> = Mutex::new(None);

/// Makes sure that so many bytes, at most half of what is available, are this machine's until the process ends.
///
/// # Errors
/// When they cannot be written to `/dev/shm`.
pub(crate) fn warm(bytes: u64) -> anyhow::Result<()> {
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    let bytes = bytes.min(available_memory() / 2);
    if kept.as_ref().is_some_and(|(_, before)| *before >= bytes) {
        return Ok(());
    }
    let mut file = tempfile::tempfile_in("/dev/shm").context("create a file in /dev/shm")?;
    io::copy(&mut io::repeat(1).take(bytes), &mut file).context("write to /dev/shm")?;
    give_back(&file, bytes).context("free what was written to /dev/shm")?;
    *kept = Some((file, bytes));
    Ok(())
}

/// Frees a file's memory, but for one page in each block.
fn give_back(file: &File, bytes: u64) -> io::Result<()> {
    for block in 0..bytes / BLOCK {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        fallocate(file, flags, block * BLOCK + PAGE, BLOCK - PAGE)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn one_page_of_each_block_is_kept_and_less_is_warm_already() {
        warm(8 * BLOCK).unwrap();
        warm(4 * BLOCK).unwrap();
        let kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        let (file, bytes) = kept.as_ref().unwrap();
        let stored = file.metadata().unwrap().blocks() * 512;
        assert_eq!((*bytes, stored), (8 * BLOCK, 8 * PAGE));
    }
}
