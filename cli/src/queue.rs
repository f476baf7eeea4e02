//! `headworks queue`: how full it is, and its dead letters.

use std::{process::ExitCode, sync::Arc};

use anyhow::bail;
use clap::{Args, Subcommand};
use headworks_shared::{
    data_dir::DataDir,
    meta::Store,
    model::{Job, Priority, UploadId},
    stack::{Site, Stack, is_embedded, peek},
};

use crate::{Place, short_runtime};

/// How many dead letters are listed, and tried again, at a time.
const PAGE: usize = 1000;

#[derive(Args, Debug)]
pub(crate) struct QueueArgs {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Debug)]
enum What {
    /// How many jobs are on the queue.
    Depth,
    /// Jobs that came to a bad end.
    #[command(subcommand)]
    Dead(Dead),
}

#[derive(Subcommand, Debug)]
enum Dead {
    /// One line for each.
    List,
    /// All of one.
    Show {
        /// The upload.
        id: UploadId,
    },
    /// Queue the job again. The embedded system must be stopped.
    Retry {
        /// The upload.
        #[arg(required_unless_present = "all")]
        id: Option<UploadId>,
        /// All of them.
        #[arg(long, conflicts_with = "id")]
        all: bool,
    },
    /// Forget the letter; the sweep will find the object again. The embedded system must be stopped.
    Discard {
        /// The upload.
        id: UploadId,
    },
}

pub(crate) fn run(args: &QueueArgs) -> anyhow::Result<ExitCode> {
    let runtime = short_runtime()?;
    match &args.what {
        What::Depth => runtime.block_on(depth(&args.place))?,
        What::Dead(Dead::List) => runtime.block_on(list(&args.place))?,
        What::Dead(Dead::Show { id }) => runtime.block_on(show(&args.place, *id))?,
        What::Dead(Dead::Retry { id, .. }) => runtime.block_on(retry(&args.place, *id))?,
        What::Dead(Dead::Discard { id }) => runtime.block_on(discard(&args.place, *id))?,
    }
    Ok(ExitCode::SUCCESS)
}

#[expect(clippy::print_stdout, reason = "this command is there to print")]
async fn depth(place: &Place) -> anyhow::Result<()> {
    let settings = place.load()?.settings;
    place.must_be_there(&settings)?;
    let depth = peek(&settings, &place.data_dir).await?.depth;
    for priority in Priority::ALL {
        let of = priority.index();
        println!(
            "{:8} {} in line, {} delayed",
            priority.as_str(),
            depth.ready[of] + depth.in_flight[of],
            depth.delayed[of]
        );
    }
    let credits: usize = depth.credited.iter().sum();
    println!("{:8} {} of {}, {credits} credits", "all", depth.jobs(), settings.queue.capacity);
    Ok(())
}

#[expect(clippy::print_stdout, reason = "this command is there to print")]
async fn list(place: &Place) -> anyhow::Result<()> {
    let meta = open_to_read(place).await?;
    for letter in meta.dead(PAGE).await? {
        println!("{}  {}  {} tries  {}", letter.job.id, letter.at, letter.job.tries, letter.error);
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "this command is there to print")]
async fn show(place: &Place, id: UploadId) -> anyhow::Result<()> {
    let meta = open_to_read(place).await?;
    let Some(letter) = meta.dead_letter(id).await? else { bail!("no dead letter for {id}") };
    println!("{}", serde_json::to_string_pretty(&letter.job)?);
    println!("died {}: {}", letter.at, letter.error);
    Ok(())
}

async fn retry(place: &Place, id: Option<UploadId>) -> anyhow::Result<()> {
    let (_lock, stack) = open(place).await?;
    let letters = match id {
        Some(id) => stack.meta.dead_letter(id).await?.into_iter().collect(),
        None => stack.meta.dead(PAGE).await?,
    };
    if let (Some(id), true) = (id, letters.is_empty()) {
        bail!("no dead letter for {id}");
    }
    for letter in letters {
        // On the queue first: if this ends between the two, the letter is there still, and the job is its own repeat.
        let id = letter.job.id;
        stack.queue.push(Job { tries: 0, ..letter.job }, None).await?;
        stack.meta.discard(id).await?;
    }
    Ok(())
}

async fn discard(place: &Place, id: UploadId) -> anyhow::Result<()> {
    let (_lock, stack) = open(place).await?;
    if !stack.meta.discard(id).await? {
        bail!("no dead letter for {id}");
    }
    Ok(())
}

async fn open_to_read(place: &Place) -> anyhow::Result<Arc<dyn Store>> {
    let settings = place.load()?.settings;
    place.must_be_there(&settings)?;
    Ok(place.stores_to_read(&settings).await?.meta)
}

/// Opens everything; in the embedded system for this command alone, in a fleet beside its processes.
pub(crate) async fn open(place: &Place) -> anyhow::Result<(Option<DataDir>, Stack)> {
    let settings = place.load()?.settings;
    place.must_be_there(&settings)?;
    let lock = is_embedded(&settings).then(|| DataDir::lock(&place.data_dir)).transpose()?;
    let site = Site::new(&place.data_dir, &settings);
    // It is large: all backends open in it.
    let stack = Box::pin(Stack::open(&settings, &site)).await?;
    Ok((lock, stack))
}
