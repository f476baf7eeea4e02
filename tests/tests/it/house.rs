//! The rules of `ARCHITECTURE.md` on who may know whom, and the rules on files, proven of the whole tree.
//!
//! Text is enough for them: Rust is read as far as its comments, texts and `use` trees. So each rule is also a lint for what is
//! written by habit, and no wall against who wants to get around it.

mod code;
mod rules;
mod tests;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use rules::{places, violations};

/// At the root; not written by us.
const PASSED_OVER: [&str; 4] = [".git", "target", "data", "Cargo.lock"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every file below a folder that is text, by its path from the root.
fn files(folder: &Path, under: &str, found: &mut Vec<(String, String)>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))? {
        let entry = entry?;
        let name = entry.file_name().into_string().unwrap_or_default();
        let path = if under.is_empty() { name } else { format!("{under}/{name}") };
        if PASSED_OVER.contains(&path.as_str()) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            files(&entry.path(), &path, found)?;
            continue;
        }
        match fs::read_to_string(entry.path()) {
            Ok(text) => found.push((path, text)),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {}
            Err(error) => return Err(error).with_context(|| format!("read {path}")),
        }
    }
    Ok(())
}

#[test]
fn the_tree_keeps_the_rules_of_the_house() -> Result<()> {
    let mut found = Vec::new();
    files(&root(), "", &mut found)?;
    let broken: Vec<_> = found.iter().flat_map(|(path, text)| violations(path, text)).collect();
    let lines: String = broken.iter().map(|violation| format!("\n{violation}")).collect();
    ensure!(broken.is_empty(), "{} rules are broken:{lines}", broken.len());
    Ok(())
}

#[test]
fn the_places_that_the_rules_name_are_there() {
    for place in places() {
        let there = [place.clone(), format!("{place}.rs")].iter().any(|path| root().join(path).exists());
        assert!(there, "{place} has moved, and its rule with it");
    }
}
