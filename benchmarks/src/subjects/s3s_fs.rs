//! The library s3s-fs, as a server of its own: what an S3 server costs that has only a folder to put bodies into. Nobody signs, so that
//! no signature is checked.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, anyhow};
use clap::Args;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;
use tokio::runtime;

use super::{
    Intake, Rest, Running,
    process::{Process, Ready, free_address},
};
use crate::serving;

/// What the helper is told.
#[derive(Args, Debug)]
pub(crate) struct Helper {
    /// Where it listens.
    listen: SocketAddr,
    /// The folder of its buckets.
    folder: PathBuf,
}

/// Starts this program again as the server, with its data below `folder`.
pub(super) async fn start(folder: &Path) -> anyhow::Result<Running> {
    let (address, buckets) = (free_address()?, folder.join("buckets"));
    std::fs::create_dir_all(buckets.join("uploads"))?;
    let mut command = Command::new(std::env::current_exe().context("find this program")?);
    command.arg("s3s-fs").arg(address.to_string()).arg(buckets);
    let mut process = Process::start(&mut command, &folder.join("output.log"))?;
    process.ready(address, "/", Ready::Answers).await.context("start s3s-fs")?;
    let intake = Intake::put(address, "/uploads/up");
    Ok(Running { processes: vec![process], rest: Rest::Nothing, intake })
}

/// Serves until it is ended, on as many threads as there are cores.
///
/// # Errors
/// When the address is taken or the folder is not there.
pub(crate) async fn serve(helper: Helper) -> anyhow::Result<()> {
    let threads = runtime::Builder::new_multi_thread().enable_all().build()?;
    let served = threads.spawn(accept(helper)).await;
    threads.shutdown_background();
    served?
}

async fn accept(Helper { listen, folder }: Helper) -> anyhow::Result<()> {
    let files = FileSystem::new(folder).map_err(|error| anyhow!("{error:?}"))?;
    let service = S3ServiceBuilder::new(files).build();
    serving::serve(listen, service).await
}
