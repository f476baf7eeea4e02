//! A control group of a test's own, whose memory limit the test moves.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, Result};
use rustix::process::geteuid;
use tempfile::TempDir;

/// Where control groups are.
const ROOT: &str = "/sys/fs/cgroup";

/// A group, as long as one of its clones is there; its processes must have ended before.
#[derive(Clone, Debug)]
pub struct Group(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Version 1 has a tree for each kind of resource.
    version_1: bool,
    folder: Option<TempDir>,
}

impl Group {
    /// Makes one with this limit, in bytes. `None` for who is not root: only root may, and it is said on standard error.
    ///
    /// # Errors
    /// When the machine has no memory controller.
    pub fn new(limit: u64) -> Result<Option<Self>> {
        if !geteuid().is_root() {
            // Not by eprintln!, which a test that passes keeps to itself.
            writeln!(std::io::stderr(), "NOT TESTED: only root can make a control group")?;
            return Ok(None);
        }
        let old = Path::new(ROOT).join("memory");
        let version_1 = old.join("memory.limit_in_bytes").is_file();
        let parent = if version_1 { old } else { ROOT.into() };
        if !version_1 {
            fs::write(parent.join("cgroup.subtree_control"), "+memory").context("hand memory down")?;
        }
        let folder = tempfile::Builder::new().prefix("headworks-test-").tempdir_in(&parent);
        let folder = Some(folder.with_context(|| format!("make a group in {}", parent.display()))?);
        let group = Self(Arc::new(Inner { version_1, folder }));
        group.limit(limit)?;
        Ok(Some(group))
    }

    /// Moves the limit, in bytes. What is above it is taken back from the page cache first.
    ///
    /// # Errors
    /// When that does not suffice.
    pub fn limit(&self, bytes: u64) -> Result<()> {
        let name = if self.0.version_1 { "memory.limit_in_bytes" } else { "memory.max" };
        fs::write(self.file(name), bytes.to_string()).with_context(|| format!("limit memory to {bytes}"))
    }

    /// What is charged to it, page cache included, in bytes.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn charged(&self) -> Result<u64> {
        let name = if self.0.version_1 { "memory.usage_in_bytes" } else { "memory.current" };
        Ok(fs::read_to_string(self.file(name))?.trim().parse()?)
    }

    /// Where a process enters it.
    pub(crate) fn entrance(&self) -> PathBuf {
        self.file("cgroup.procs")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.folder.as_ref().map_or_else(PathBuf::new, |folder| folder.path().join(name))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // A group's files are not to be removed, only the group.
        if let Some(folder) = self.folder.take() {
            let path = folder.keep();
            if let Err(error) = fs::remove_dir(&path) {
                drop(writeln!(std::io::stderr(), "left behind {}: {error}", path.display()));
            }
        }
    }
}
