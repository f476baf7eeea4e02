//! The settings of one Headworks under test, and the folder that it works in.

use std::{collections::BTreeMap, fmt, path::PathBuf, sync::Arc};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::Group;

/// A file system of its own, seen by the process under test alone; it goes when the process goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Mount {
    /// An empty file system in memory of so many bytes, at this folder below the data directory.
    Small {
        /// Below the data directory.
        folder: &'static str,
        /// Its size.
        bytes: u64,
    },
    /// The data directory itself, read-only.
    ReadOnly,
}

/// What a Headworks is started with. Clones share the folder: that is a restart.
#[derive(Clone, Debug)]
pub struct Config {
    home: Arc<TempDir>,
    settings: BTreeMap<String, String>,
    announced: Vec<&'static str>,
    pub(crate) variables: BTreeMap<&'static str, String>,
    pub(crate) mount: Option<Mount>,
    pub(crate) files: Option<u64>,
    pub(crate) group: Option<Group>,
    pub(crate) listen: String,
}

impl Config {
    /// The defaults, but for: a sweep that looks every second, and marks for memory, disk and a slow store that only the test itself can
    /// reach, not whatever else runs on this machine.
    ///
    /// # Errors
    /// When there is no room for a temporary folder.
    pub fn new() -> Result<Self> {
        Ok(Self::within(tempfile::tempdir().context("make a temporary folder")?))
    }

    /// As [`Config::new`], in memory where the machine has `/dev/shm`: for tests that move more bytes than a disk should see.
    ///
    /// # Errors
    /// When there is no room for a temporary folder.
    pub fn in_memory() -> Result<Self> {
        Ok(Self::within(tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())?))
    }

    fn within(home: TempDir) -> Self {
        let config = Self {
            home: Arc::new(home),
            settings: BTreeMap::new(),
            announced: Vec::new(),
            variables: BTreeMap::new(),
            mount: None,
            files: None,
            group: None,
            listen: "127.0.0.1:0".to_owned(),
        };
        config
            .text("processor.sweep.every", "1s")
            .text("processor.sweep.settle", "1s")
            .set("memory.open_below", 97)
            .set("memory.shut_above", 98)
            .set("memory.critical", 99)
            .set("disk.shut_below", 1)
            .set("disk.open_above", 2)
            .text("ingest.limits.store_within", "10m")
    }

    /// Sets a number, a truth or a list.
    #[must_use]
    pub fn set(mut self, key: &str, value: impl fmt::Display) -> Self {
        self.settings.insert(key.to_owned(), value.to_string());
        self
    }

    /// Sets a text: a time, a size, a URL.
    #[must_use]
    pub fn text(self, key: &str, value: impl fmt::Display) -> Self {
        // A Rust string literal without control characters is a TOML one too.
        self.set(key, format_args!("{:?}", value.to_string()))
    }

    /// Puts a variable into its environment.
    #[must_use]
    pub fn variable(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.variables.insert(name, value.to_string());
        self
    }

    /// Expects log lines of WARN or ERROR with this in them. All others fail the test.
    #[must_use]
    pub fn announce(mut self, part: &'static str) -> Self {
        self.announced.push(part);
        self
    }

    /// Gives the process a file system of its own.
    #[must_use]
    pub fn mount(mut self, mount: Mount) -> Self {
        self.mount = Some(mount);
        self
    }

    /// Lets the process have so many files and sockets open, and no more.
    #[must_use]
    pub fn files(mut self, most: u64) -> Self {
        self.files = Some(most);
        self
    }

    /// Has the process enter a control group.
    #[must_use]
    pub fn group(mut self, group: &Group) -> Self {
        self.group = Some(group.clone());
        self
    }

    /// Listens here instead of on a free port.
    #[must_use]
    pub fn listen(mut self, address: impl fmt::Display) -> Self {
        self.listen = address.to_string();
        self
    }

    /// The folder of all that belongs to this test.
    pub fn home(&self) -> PathBuf {
        self.home.path().to_owned()
    }

    /// The data directory. Nobody makes it but Headworks.
    pub fn data(&self) -> PathBuf {
        self.home.path().join("data")
    }

    pub(crate) fn announced(&self) -> Vec<&'static str> {
        self.announced.clone()
    }

    /// Writes the settings file.
    pub(crate) fn file(&self) -> Result<PathBuf> {
        let path = self.home.path().join("headworks.toml");
        let lines: String = self.settings.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
        std::fs::write(&path, lines).context("write the settings file")?;
        Ok(path)
    }
}
