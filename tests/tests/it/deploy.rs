//! The files in `deploy/`, held to the programs that read them and to the program that they start.
//!
//! No cluster and no container is needed: kustomize, Compose and hadolint read the files, schemas say which fields there are, and all that
//! is named must be there: a label's pods, a port's listener, a setting's key, a secret's file, an image's target.

mod compose;
mod docker;
mod keda;
mod kubernetes;
mod memory;
mod pod;
mod references;
mod store;

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use headworks_tests::servers::program;
use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(root().join(path)).with_context(|| format!("read {path}"))
}

/// A program that `tests/install` puts into `target/python`; it works at the root of the tree.
fn tool(name: &str) -> Result<Command> {
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/python/bin");
    let mut command = Command::new(program(name, &[own])?);
    command.current_dir(root());
    Ok(command)
}

/// What a command prints when it ends well.
fn output(command: &mut Command, input: &str) -> Result<String> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("run {command:?}"))?;
    // It prints nothing before it has read everything.
    child.stdin.take().context("its input")?.write_all(input.as_bytes())?;
    let ended = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&ended.stderr);
    ensure!(ended.status.success(), "{command:?}: {}: {said}", ended.status);
    Ok(String::from_utf8(ended.stdout)?)
}

/// A text at a place in a document.
fn text<'a>(value: &'a Value, pointer: &str) -> Result<&'a str> {
    value.pointer(pointer).and_then(Value::as_str).with_context(|| format!("no text at {pointer} of {value}"))
}

/// The elements of a list at a place in a document; none when there is none.
fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
