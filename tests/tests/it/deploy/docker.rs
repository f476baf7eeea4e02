//! The Dockerfile: linted, and of one mind with the workspace and with the programs' own ports.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use headworks_shared::config;

use super::{output, pod::SETTINGS, read, tool};

const DOCKERFILE: &str = "deploy/docker/Dockerfile";

/// The stages that end in an image: those that say what it starts.
pub(super) fn targets() -> Result<BTreeSet<String>> {
    let stages = stages()?.into_iter().filter(|stage| stage.says("ENTRYPOINT").is_ok());
    Ok(stages.map(|stage| stage.name).collect())
}

struct Stage {
    from: String,
    name: String,
    lines: Vec<String>,
}

impl Stage {
    /// What stands behind a word.
    fn says(&self, word: &str) -> Result<&str> {
        let found = self.lines.iter().find_map(|line| line.strip_prefix(word)?.strip_prefix(' '));
        found.with_context(|| format!("{} has no {word}", self.name))
    }
}

fn stages() -> Result<Vec<Stage>> {
    let text = read(DOCKERFILE)?.replace("\\\n", " ");
    let mut stages: Vec<Stage> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if let Some((from, name)) = line.strip_prefix("FROM ").and_then(|from| from.split_once(" AS ")) {
            stages.push(Stage { from: from.to_owned(), name: name.to_owned(), lines: Vec::new() });
        } else if let Some(stage) = stages.last_mut() {
            stage.lines.push(line.split_whitespace().collect::<Vec<_>>().join(" "));
        }
    }
    Ok(stages)
}

#[test]
fn hadolint_finds_nothing() -> Result<()> {
    output(tool("hadolint")?.args(["--config", "deploy/docker/hadolint.yaml", DOCKERFILE]), "").map(drop)
}

#[test]
fn every_part_has_an_image_that_listens_and_is_asked_where_the_part_is() -> Result<()> {
    let wanted = ["catalog", "headworks", "ingest", "processor"].map(str::to_owned);
    ensure!(targets()? == BTreeSet::from(wanted), "{:?}", targets()?);
    let settings = config::load(Some(&super::root().join("config/fleet.toml")), [])?.settings;
    let public = |listen: std::net::SocketAddr| format!("{} ", listen.port());
    for stage in stages()? {
        let (before, admin) = match &*stage.name {
            "ingest" => (public(settings.ingest.listen), settings.ingest.admin),
            "processor" => (String::new(), settings.processor.admin),
            "catalog" => (public(settings.catalog.listen), settings.catalog.admin),
            _ => continue,
        };
        ensure!(stage.says("EXPOSE")? == format!("{before}{}", admin.port()), "{}", stage.name);
        ensure!(
            stage.says("HEALTHCHECK")?.ends_with(&format!("\"health\", \"http://{admin}/readyz\"]")),
            "{}",
            stage.name
        );
        ensure!(
            stage.says("ENTRYPOINT")? == format!("[\"/usr/local/bin/headworks-{}\"]", stage.name),
            "{}",
            stage.name
        );
        ensure!(stage.says("CMD")? == format!("[\"--config\", \"{SETTINGS}\"]"), "{}", stage.name);
    }
    Ok(())
}

#[test]
fn no_image_runs_as_root() -> Result<()> {
    let (stages, targets) = (stages()?, targets()?);
    let base = stages.iter().find(|stage| stage.name == "base").context("a base")?;
    let user = base.says("USER")?;
    ensure!(user.split(':').all(|id| id.parse::<u32>().is_ok_and(|id| id > 0)), "{user}");
    for stage in stages.iter().filter(|stage| targets.contains(&stage.name)) {
        ensure!(stage.from == "base" && stage.says("USER").is_err(), "{} is of {}", stage.name, stage.from);
    }
    Ok(())
}

/// Cargo reads the manifest of every member, also of those that are not built.
#[test]
fn the_builder_is_sent_the_whole_workspace() -> Result<()> {
    let manifest: toml::Table = read("Cargo.toml")?.parse()?;
    let members = manifest["workspace"]["members"].as_array().context("members")?;
    let sent = read("deploy/docker/Dockerfile.dockerignore")?;
    for name in
        members.iter().filter_map(toml::Value::as_str).chain(["Cargo.toml", "Cargo.lock", "config", ".cargo"])
    {
        ensure!(
            sent.lines().any(|line| line.strip_prefix('!') == Some(name)),
            "{name} is not sent to the builder"
        );
    }
    Ok(())
}
