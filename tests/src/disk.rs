//! A disk of a test's own, whose power the test cuts: a file system with a journal, in a file.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::binary::environment;

/// How large it is, in bytes; the file has holes where nothing was written.
const SIZE: u64 = 2 << 30;

/// Shuts a file system down without writing out what its journal has in memory (`EXT4_IOC_SHUTDOWN` with `EXT4_GOING_FLAGS_NOLOGFLUSH`,
/// and the same call of xfs): what is behind it afterwards is what a power cut would have left.
const SHUT_DOWN: &str = "my $how = pack('L', 2); sysopen(my $disk, $ARGV[0], 0) or die $!; ioctl($disk, 0x8004587d, $how) or die $!";

/// A disk, mounted as long as this is there.
#[derive(Debug)]
pub struct Disk {
    image: PathBuf,
    at: PathBuf,
}

impl Disk {
    /// Makes one in the file `image`, and mounts it at `at`. Its file system is ext4, or what `HEADWORKS_FILE_SYSTEM` says: xfs.
    ///
    /// # Errors
    /// When that is not allowed here: only root may mount.
    pub fn new(image: PathBuf, at: PathBuf) -> Result<Self> {
        let kind = environment("HEADWORKS_FILE_SYSTEM").unwrap_or_else(|| "ext4".to_owned());
        File::create_new(&image)?.set_len(SIZE)?;
        run(Command::new(format!("mkfs.{kind}")).arg("-q").arg(&image))?;
        fs::create_dir_all(&at)?;
        mount(&image, &at)?;
        Ok(Self { image, at })
    }

    /// Cuts the power: nothing is written any more.
    ///
    /// # Errors
    /// When its file system has no such call.
    pub fn cut(&self) -> Result<()> {
        run(Command::new("perl").args(["-e", SHUT_DOWN]).arg(&self.at))
    }

    /// Gives it its power again. Nobody may have a file of it open.
    ///
    /// # Errors
    /// When somebody has, or the file system is broken.
    pub fn again(&self) -> Result<()> {
        run(Command::new("umount").arg(&self.at))?;
        mount(&self.image, &self.at)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // A test that failed may have left it unmounted.
        drop(run(Command::new("umount").arg(&self.at)));
    }
}

fn mount(image: &Path, at: &Path) -> Result<()> {
    run(Command::new("mount").args(["-o", "loop"]).args([image, at]))
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("run {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} ended with {}: {said}", output.status);
    Ok(())
}
