//! Headworks, all in one process, with its default settings but for its durability, its queue's capacity, its most uploads at once
//! and its log.

use std::{fs, path::Path, process::Command};

use anyhow::Context as _;

use super::{
    Place, Running,
    process::{Process, Ready, free_address},
};

/// The queue's capacity, in jobs: more than any scenario sends, so that none is refused and the whole cost is seen.
pub(crate) const QUEUE_CAPACITY: u64 = 1_000_000;

/// The most uploads at once: more than any scenario has.
const STREAMS: usize = 10_000;

/// Starts `program` with its data below `folder`.
pub(super) async fn start(program: &Path, folder: &Path, place: Place) -> anyhow::Result<Running> {
    let (address, admin) = (free_address()?, free_address()?);
    let config = folder.join("headworks.toml");
    fs::write(&config, settings(place))?;
    let mut command = Command::new(program);
    command.arg("serve").arg("--config").arg(&config).arg("--data-dir").arg(folder.join("data"));
    command.args(["--listen", &address.to_string(), "--admin", &admin.to_string()]);
    let mut process = Process::start(&mut command, &folder.join("output.log"))?;
    process.ready(admin, "/readyz", Ready::Succeeds).await.context("start headworks")?;
    Ok(Running { process, target: address, prefix: "/v1/files/up", admin: Some(admin) })
}

fn settings(place: Place) -> String {
    let durability = place.durability();
    format!(
        "[storage]\ndurability = \"{durability}\"\n\n[queue]\ncapacity = {QUEUE_CAPACITY}\n\n[log]\nfilter = \"warn\"\n\n\
        [ingest.limits]\nstreams = {STREAMS}\nconnections = {STREAMS}\nconnections_per_address = 100\n"
    )
}
