//! Headworks, all in one process, with its default settings but for its durability, its queue's capacity, its most uploads at once
//! and its log.

use std::{fs, path::Path, process::Command};

use anyhow::Context as _;

use super::{
    Intake, Place, Rest, Running,
    process::{Process, Ready, free_address},
};

/// The queue's capacity, in jobs: more than any scenario sends, so that none is refused and the whole cost is seen.
pub(crate) const QUEUE_CAPACITY: u64 = 1_000_000;

/// The most uploads at once, and connections: more than any scenario has.
const STREAMS: usize = 12_000;

/// How much it is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    /// For all that a scenario sends.
    Ample,
    /// For so many uploads at once and jobs on its queue; who comes on top of them is refused at once.
    Only(u64),
}

/// Starts `program` with its data below `folder`.
///
/// # Errors
/// When it is not ready after 30 s.
pub(crate) async fn start(
    program: &Path,
    folder: &Path,
    place: Place,
    size: Size,
) -> anyhow::Result<Running> {
    let (address, admin) = (free_address()?, free_address()?);
    let config = folder.join("headworks.toml");
    fs::write(&config, settings(place, size))?;
    let mut command = Command::new(program);
    command.arg("serve").arg("--config").arg(&config).arg("--data-dir").arg(folder.join("data"));
    command.args(["--listen", &address.to_string(), "--admin", &admin.to_string()]);
    let mut process = Process::start(&mut command, &folder.join("output.log"))?;
    process.ready(admin, "/readyz", Ready::Succeeds).await.context("start headworks")?;
    let intake = Intake::put(address, "/v1/files/up");
    Ok(Running { processes: vec![process], rest: Rest::Told(admin), intake })
}

fn settings(place: Place, size: Size) -> String {
    let durability = place.durability();
    let (capacity, streams) = match size {
        Size::Ample => (QUEUE_CAPACITY, format!("streams = {STREAMS}")),
        Size::Only(size) => (size * 5 / 2, format!("streams = {size}\nhold = \"0s\"")),
    };
    format!(
        "[storage]\ndurability = \"{durability}\"\n\n[queue]\ncapacity = {capacity}\n\n[log]\nfilter = \"warn\"\n\n\
        [ingest.limits]\n{streams}\nconnections = {STREAMS}\nconnections_per_address = 100\n"
    )
}
