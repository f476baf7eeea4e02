//! Prometheus with the rules that we ship, as operators run it, but looking more often. Debian's package, which has `promtool` too.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Server, free_address, program};
use crate::{Client, DEADLINE, fleet::Node, until};

/// A private Prometheus.
#[derive(Debug)]
pub struct Prometheus {
    server: Server,
    folder: TempDir,
}

impl Prometheus {
    /// Listens at `address`, or on a free port, and looks at `nodes` each `every`, as Prometheus writes times.
    ///
    /// # Errors
    /// When it is not installed or does not start.
    pub async fn start<'a>(
        address: Option<SocketAddr>,
        every: &str,
        nodes: impl IntoIterator<Item = &'a Node>,
    ) -> Result<Self> {
        let address = address.map_or_else(free_address, Ok)?;
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("prometheus.yml");
        fs::write(&file, configuration(every)?)?;
        let mut command = Command::new(program("prometheus", &["/usr/bin"])?);
        command.arg(format!("--config.file={}", file.display())).arg("--log.level=warn");
        command.arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()));
        command.arg(format!("--web.listen-address={address}"));
        let server = Server::start("prometheus", command, folder.path(), address).await?;
        let prometheus = Self { server, folder };
        prometheus.watch(nodes)?;
        let ready = async || Ok(Client::new(address).get("/-/ready").send().await?.status);
        until("Prometheus to be ready", DEADLINE, ready, |status| *status == 200).await?;
        Ok(prometheus)
    }

    /// Looks at these from now on, and at no others.
    ///
    /// # Errors
    /// When its file cannot be written.
    pub fn watch<'a>(&self, nodes: impl IntoIterator<Item = &'a Node>) -> Result<()> {
        Ok(fs::write(self.targets(), targets(nodes).to_string())?)
    }

    /// The file that says whom it looks at: JSON, read again whenever it changes.
    pub fn targets(&self) -> PathBuf {
        self.folder.path().join("targets.yml")
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// What a query says at this moment: its series, each with its labels and its value.
    ///
    /// # Errors
    /// When it is no query, or nothing is answered.
    pub async fn query(&self, query: &str) -> Result<Vec<Value>> {
        let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let data = self.ask(&format!("/api/v1/query?query={encoded}")).await;
        list(&data.with_context(|| query.to_owned())?["result"])
    }

    /// Its rules, as it tells of them: with their last evaluation.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn rules(&self) -> Result<Vec<Value>> {
        let groups = list(&self.ask("/api/v1/rules").await?["groups"])?;
        let rules = groups.iter().map(|group| list(&group["rules"])).collect::<Result<Vec<_>>>()?;
        Ok(rules.concat())
    }

    async fn ask(&self, target: &str) -> Result<Value> {
        let answer = Client::new(self.address()).get(target).send().await?;
        let mut told = answer.json()?;
        ensure!(told["status"] == "success", "{told}");
        Ok(told["data"].take())
    }
}

/// What is beside the settings that we ship.
pub fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/prometheus")
}

/// `promtool`, ready to run.
///
/// # Errors
/// When it is not installed.
pub fn promtool() -> Result<Command> {
    Ok(Command::new(program("promtool", &["/usr/bin"])?))
}

/// The settings that we ship, but for how often it looks, and with the rules where they are.
fn configuration(every: &str) -> Result<String> {
    let mut settings = fs::read_to_string(shipped().join("prometheus.yml"))?;
    let rules = shipped().join("rules/*.yml").display().to_string();
    for (from, to) in [("_interval: 15s", format!("_interval: {every}")), ("rules/*.yml", rules)] {
        ensure!(settings.contains(from), "prometheus.yml does not say {from} any more");
        settings = settings.replace(from, &to);
    }
    Ok(settings)
}

fn targets<'a>(nodes: impl IntoIterator<Item = &'a Node>) -> Value {
    let group = |node: &Node| {
        json!({
            "labels": { "job": format!("headworks-{}", node.kind().as_str()) },
            "targets": [node.admin().to_string()],
        })
    };
    nodes.into_iter().map(group).collect()
}

fn list(value: &Value) -> Result<Vec<Value>> {
    value.as_array().cloned().with_context(|| format!("a list, and not {value}"))
}
