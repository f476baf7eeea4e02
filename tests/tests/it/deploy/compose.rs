//! The fleet of `deploy/compose`, as Compose reads it.

use std::{collections::BTreeSet, process::Command};

use anyhow::{Context as _, Result, ensure};
use headworks_shared::config::{self, Settings, Span};
use headworks_tests::servers::program;
use serde_json::{Map, Value};

use super::{docker::targets, list, memory::holds, output, read, root, text, tool};

const FOLDER: &str = "deploy/compose";

/// The services, as they are with the example's environment.
fn services() -> Result<Map<String, Value>> {
    let mut compose = tool("docker-compose")?;
    compose.args(["--project-directory", FOLDER, "--file", &format!("{FOLDER}/compose.yaml")]);
    compose.args([
        "--env-file",
        &format!("{FOLDER}/.env.example"),
        "--profile",
        "*",
        "config",
        "--format",
        "json",
    ]);
    let project: Value = serde_json::from_str(&output(&mut compose, "")?)?;
    project["services"].as_object().cloned().context("services")
}

/// Those that are built here: a target of the Dockerfile, and the settings of what it starts.
fn parts() -> Result<Vec<(String, Value, Settings)>> {
    let mut parts = Vec::new();
    for (name, service) in services()?.into_iter().filter(|(_, service)| service["build"].is_object()) {
        let variables = service["environment"].as_object().context("an environment")?.iter();
        let variables =
            variables.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()));
        let settings =
            config::load(Some(&root().join("config/fleet.toml")), variables).with_context(|| name.clone())?;
        parts.push((name, service, settings.settings));
    }
    Ok(parts)
}

#[test]
fn every_part_is_there_and_accepts_its_settings() -> Result<()> {
    let targets = targets()?;
    let mut count = [0; 3];
    for (name, service, settings) in parts()? {
        let target = text(&service, "/build/target")?;
        ensure!(targets.contains(target), "{name}: the Dockerfile has no target {target}");
        ensure!(
            text(&service, "/image")?.ends_with(concat!(":", env!("CARGO_PKG_VERSION"))),
            "{}",
            service["image"]
        );
        let admin = match target {
            "ingest" => settings.ingest.admin,
            "processor" => settings.processor.admin,
            "catalog" => settings.catalog.admin,
            _ => continue,
        };
        ensure!(admin.ip().is_unspecified(), "{name}: Prometheus cannot reach {admin}");
        let index = ["ingest", "processor", "catalog"].iter().position(|one| *one == target);
        count[index.context("a part")?] += 1;
    }
    ensure!(count == [3, 2, 1], "{count:?}");
    Ok(())
}

#[test]
fn every_part_fits_its_servers_and_its_own_limits() -> Result<()> {
    let postgres = &services()?["postgres"];
    let said = list(postgres, "/command").iter().filter_map(Value::as_str);
    let most = said.filter_map(|word| word.strip_prefix("max_connections=")?.parse::<usize>().ok()).next();
    let mut connections = 0;
    for (name, service, settings) in parts()? {
        connections += settings.metadata.pool;
        let given = text(&service, "/stop_grace_period")?.replace("1m20s", "80s").parse::<Span>()?.0;
        let asked = settings.shutdown.drain_delay.0 + settings.shutdown.grace.0;
        ensure!(given.as_secs() >= asked.as_secs() + 10, "{name}: {given:?} for {asked:?}");
        if service["build"]["target"] == "ingest" {
            holds(text(&service, "/mem_limit")?.parse()?, &settings).context(name)?;
        }
    }
    ensure!(most.is_some_and(|most| connections < most), "{connections} connections, of {most:?}");
    Ok(())
}

#[test]
fn the_queue_keeps_its_jobs_and_evicts_none() -> Result<()> {
    let services = services()?;
    let said: Vec<_> = list(&services["redis"], "/command").iter().filter_map(Value::as_str).collect();
    for wanted in [["--appendonly", "yes"], ["--maxmemory-policy", "noeviction"]] {
        ensure!(said.windows(2).any(|pair| pair == wanted), "{wanted:?} is not in {said:?}");
    }
    Ok(())
}

#[test]
fn every_file_that_is_mounted_is_there_and_every_image_has_a_version() -> Result<()> {
    for (name, service) in services()? {
        for mount in list(&service, "/volumes").iter().filter(|mount| mount["type"] == "bind") {
            let source = text(mount, "/source")?;
            ensure!(std::path::Path::new(source).exists(), "{name}: there is no {source}");
        }
        let image = text(&service, "/image")?;
        let tag = image.rsplit_once(':').map(|(_, tag)| tag);
        ensure!(tag.is_some_and(|tag| tag != "latest"), "{image} is another one tomorrow");
    }
    Ok(())
}

/// Addresses, each with the name of a service, at whose port somebody looks.
fn looked_for(file: &str) -> Result<BTreeSet<String>> {
    let text = read(&format!("{FOLDER}/{file}"))?;
    let words = text.split(|one: char| !(one.is_ascii_alphanumeric() || "-:".contains(one)));
    let is_address = |word: &&str| word.split_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    Ok(words.filter(is_address).map(str::to_owned).collect())
}

#[test]
fn nginx_and_prometheus_look_for_every_part_where_it_is() -> Result<()> {
    let (mut uploads_and_reads, mut figures) =
        (BTreeSet::new(), BTreeSet::from(["alertmanager:9093".to_owned()]));
    for (name, service, settings) in parts()? {
        let (public, admin) = match text(&service, "/build/target")? {
            "ingest" => (Some(settings.ingest.listen), settings.ingest.admin),
            "processor" => (None, settings.processor.admin),
            "catalog" => (Some(settings.catalog.listen), settings.catalog.admin),
            _ => continue,
        };
        uploads_and_reads.extend(public.map(|address| format!("{name}:{}", address.port())));
        figures.insert(format!("{name}:{}", admin.port()));
    }
    ensure!(looked_for("nginx/upstreams.conf")? == uploads_and_reads, "nginx: not {uploads_and_reads:?}");
    ensure!(looked_for("prometheus.yml")? == figures, "Prometheus: not {figures:?}");
    Ok(())
}

/// Debian's nginx is older than `resolve`, and here are no such names: both are left out.
#[test]
fn nginx_takes_its_configuration() -> Result<()> {
    let folder = tempfile::tempdir()?;
    for file in
        ["deploy/nginx/nginx.conf", "deploy/compose/nginx/listen.conf", "deploy/compose/nginx/upstreams.conf"]
    {
        let text = read(file)?
            .replace(" resolve ", " ")
            .replace("ingest-", "127.0.0.")
            .replace("catalog-", "127.0.0.");
        std::fs::write(folder.path().join(file.rsplit('/').next().unwrap_or_default()), text)?;
    }
    let mut nginx = Command::new(program("nginx", &["/usr/sbin"])?);
    nginx
        .args(["-t", "-e", "stderr", "-p"])
        .arg(folder.path())
        .arg("-c")
        .arg(folder.path().join("nginx.conf"));
    output(&mut nginx, "").map(drop)
}
