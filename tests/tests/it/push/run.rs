//! One `headworks push` as its users run it, and what a server has after it.

use std::{
    collections::BTreeMap,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use headworks_tests::{Exit, Headworks, binary, log::Lines, remains, until};
use serde_json::Value;

/// Long enough for a run that waits out refusals and the start of a server.
const RUN: Duration = Duration::from_secs(120);

/// A run that is under way. Killed when dropped.
#[derive(Debug)]
pub(super) struct Push {
    child: Child,
    stdout: Lines,
    stderr: Lines,
}

impl Push {
    /// Starts one in a folder of its own, where its manifest is.
    pub(super) fn start(home: &Path, arguments: &[&str]) -> Result<Self> {
        let mut command = Command::new(binary::headworks()?);
        command.arg("push").args(arguments).current_dir(home);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("run headworks push")?;
        let stdout = Lines::of(child.stdout.take().context("take stdout")?);
        let stderr = Lines::of(child.stderr.take().context("take stderr")?);
        Ok(Self { child, stdout, stderr })
    }

    /// Runs one to its end.
    pub(super) async fn run(home: &Path, arguments: &[&str]) -> Result<Exit> {
        Self::start(home, arguments)?.ended().await
    }

    /// Waits until it has said that so many files are stored.
    pub(super) async fn until_stored(&self, files: usize) -> Result<()> {
        let look = async || Ok(self.stored());
        until("files to be stored", RUN, look, |stored| *stored >= files).await.map(drop)
    }

    fn stored(&self) -> usize {
        self.stderr.so_far().iter().filter(|line| line.starts_with("stored: ")).count()
    }

    /// Sends SIGINT, as Ctrl-C does.
    pub(super) fn interrupt(&self) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        Ok(rustix::process::kill_process(pid.context("a process id")?, rustix::process::Signal::INT)?)
    }

    /// `kill -9`; says how many files it had told of.
    pub(super) fn kill(mut self) -> Result<usize> {
        self.child.kill()?;
        self.child.wait()?;
        self.stderr.all();
        Ok(self.stored())
    }

    /// Waits for its end.
    pub(super) async fn ended(mut self) -> Result<Exit> {
        let look = async || Ok(self.child.try_wait()?);
        let status = until("headworks push to end", RUN, look, Option::is_some).await;
        let status = status.with_context(|| format!("it said {:#?}", self.stderr.so_far()))?;
        let code = status.context("a status")?.code();
        Ok(Exit { code, stdout: self.stdout.all(), stderr: self.stderr.all() })
    }
}

impl Drop for Push {
    fn drop(&mut self) {
        // Nobody is left to be told when it is gone already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Makes sure that a run ended so, and said this at its end.
pub(super) fn ended_with(exit: &Exit, code: i32, said: &[&str]) -> Result<()> {
    let all = exit.stdout.join("\n");
    let missing: Vec<_> = said.iter().filter(|part| !all.contains(*part)).collect();
    ensure!(exit.code == Some(code) && missing.is_empty(), "wanted {code} and {missing:?}, got {exit:#?}");
    Ok(())
}

/// Files by their path below a folder.
pub(super) type Files = BTreeMap<String, Bytes>;

/// Writes files below a folder.
pub(super) fn write(folder: &Path, files: &Files) -> Result<()> {
    for (path, content) in files {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().context("a folder")?)?;
        std::fs::write(path, content)?;
    }
    Ok(())
}

/// Makes sure that a server has these files byte for byte, each once, and nothing else.
pub(super) async fn has_exactly(headworks: &Headworks, files: &Files) -> Result<()> {
    let look = async || Ok((remains::objects(&headworks.data())?.len(), listing(headworks).await?.len()));
    let wanted = (files.len(), files.len());
    until("as many objects on the disk and listed as files", RUN, look, |seen| *seen == wanted).await?;
    headworks.until_idle().await?;
    let listed = listing(headworks).await?;
    ensure!(listed.len() == files.len(), "{} are listed", listed.len());
    for object in &listed {
        ensure!(object["version"] == 1, "there twice: {object}");
        let (path, id) = (text(object, "path")?, text(object, "id")?);
        let content = files.get(path).with_context(|| format!("{path} was not sent"))?;
        let there = headworks.client().get(&format!("/v1/objects/{id}/content")).send().await?;
        ensure!(there.with_status(200)?.body == *content, "{path} has other bytes");
    }
    Ok(())
}

async fn listing(headworks: &Headworks) -> Result<Vec<Value>> {
    let page = headworks.client().get("/v1/objects?limit=1000").send().await?.with_status(200)?.json()?;
    Ok(page["objects"].as_array().context("objects")?.clone())
}

fn text<'a>(object: &'a Value, member: &str) -> Result<&'a str> {
    object[member].as_str().with_context(|| format!("no {member} in {object}"))
}
