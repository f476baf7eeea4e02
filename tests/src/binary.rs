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
    let cargo = environment("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    // What cargo tells this test of its own package would make build scripts run again.
    for (name, _) in std::env::vars_os() {
        if name
            .to_str()
            .is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
        {
            command.env_remove(name);
        }
    }
    let built = command
        .args(["build", "--release", "--quiet", "--package", "headworks-cli", "--bin", "headworks"])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .status()
        .context("run cargo")?;
    ensure!(built.success(), "cargo build of headworks-cli: {built}");
    let me = std::env::current_exe().context("find this test's own file")?;
    // target/debug/deps/it-… → target
    let target = me.ancestors().nth(3).context("find the target folder")?;
    let path = target.join("release/headworks");
    ensure!(path.is_file(), "cargo built no {}", path.display());
    Ok(path)
}

/// A variable that rules the tests themselves.
#[expect(clippy::disallowed_methods, reason = "a test has no settings but these")]
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
