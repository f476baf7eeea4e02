//! The release binary: made current once for each run of the tests, or given by `HEADWORKS_BIN`.
//!
//! `cargo build` is asked even when there is a binary: it costs a moment when nothing changed, and a test of yesterday's program
//! proves nothing.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use anyhow::{Context as _, Result, anyhow, ensure};

use crate::fleet::Kind;

/// The path of the binary.
///
/// # Errors
/// When it cannot be built, or what `HEADWORKS_BIN` names is not there.
pub fn headworks() -> Result<&'static Path> {
    static BINARY: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let found = BINARY.get_or_init(|| given().unwrap_or_else(build).map_err(|error| format!("{error:#}")));
    found.as_deref().map_err(|error| anyhow!("no headworks to test: {error}"))
}

fn given() -> Option<Result<PathBuf>> {
    let path = PathBuf::from(environment("HEADWORKS_BIN")?);
    let missing = anyhow!("HEADWORKS_BIN names {}, which is no file", path.display());
    Some(if path.is_file() { Ok(path) } else { Err(missing) })
}

fn build() -> Result<PathBuf> {
    cargo(&["--release", "--package", "headworks-cli", "--bin", "headworks"])?;
    built("release/headworks")
}

/// The programs of a fleet, which die where `HEADWORKS_FAILPOINT` says.
#[derive(Clone, Debug)]
pub struct Fleet {
    /// The command of operators.
    pub headworks: PathBuf,
    ingest: PathBuf,
    processor: PathBuf,
    catalog: PathBuf,
}

impl Fleet {
    /// The program of one kind.
    pub fn of(&self, kind: Kind) -> &Path {
        match kind {
            Kind::Ingest => &self.ingest,
            Kind::Processor => &self.processor,
            Kind::Catalog => &self.catalog,
        }
    }
}

/// Builds the programs of a fleet once for each run of the tests: without optimization, because no test waits for them long, and
/// with failpoints.
///
/// # Errors
/// When they cannot be built.
pub fn fleet() -> Result<&'static Fleet> {
    static FLEET: OnceLock<Result<Fleet, String>> = OnceLock::new();
    let build = || build_fleet("debug", &["--features", "headworks-ingest/failpoints"]);
    let found = FLEET.get_or_init(|| build().map_err(|error| format!("{error:#}")));
    found.as_ref().map_err(|error| anyhow!("no fleet to test: {error}"))
}

/// Builds the programs of a fleet as they are shipped.
///
/// # Errors
/// When they cannot be built.
pub fn release_fleet() -> Result<&'static Fleet> {
    static FLEET: OnceLock<Result<Fleet, String>> = OnceLock::new();
    let build = || build_fleet("release", &["--release"]).map_err(|error| format!("{error:#}"));
    FLEET.get_or_init(build).as_ref().map_err(|error| anyhow!("no fleet: {error}"))
}

fn build_fleet(profile: &str, features: &[&str]) -> Result<Fleet> {
    const PACKAGES: [&str; 4] =
        ["headworks-cli", "headworks-ingest", "headworks-processor", "headworks-catalog"];
    let packages = PACKAGES.iter().flat_map(|package| ["--package", package]);
    cargo(&packages.chain(["--bins"]).chain(features.iter().copied()).collect::<Vec<_>>())?;
    Ok(Fleet {
        headworks: built(&format!("{profile}/headworks"))?,
        ingest: built(&format!("{profile}/headworks-ingest"))?,
        processor: built(&format!("{profile}/headworks-processor"))?,
        catalog: built(&format!("{profile}/headworks-catalog"))?,
    })
}

fn cargo(arguments: &[&str]) -> Result<()> {
    let cargo = environment("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    // What cargo tells this test of its own package would make build scripts run again.
    for (name, _) in std::env::vars_os() {
        let own = ["CARGO_PKG_", "CARGO_MANIFEST_"];
        if name.to_str().is_some_and(|name| own.iter().any(|prefix| name.starts_with(prefix))) {
            command.env_remove(name);
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let built =
        command.args(["build", "--quiet"]).args(arguments).current_dir(root).status().context("run cargo")?;
    ensure!(built.success(), "cargo build {}: {built}", arguments.join(" "));
    Ok(())
}

fn built(name: &str) -> Result<PathBuf> {
    let me = std::env::current_exe().context("find this test's own file")?;
    let target = me.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file());
    let target = target.context("find the target folder")?;
    let path = target.join(name);
    ensure!(path.is_file(), "cargo built no {}", path.display());
    Ok(path)
}

/// A variable that rules the tests themselves.
#[expect(clippy::disallowed_methods, reason = "a test has no settings but these")]
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
