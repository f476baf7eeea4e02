//! `headworks queue`: how full it is, and its dead letters.

use std::process::ExitCode;

use anyhow::bail;
use clap::{Args, Subcommand};
use headworks_shared::{
    clock::Clock,
    data_dir::DataDir,
    limits::Budget,
    model::{Job, Priority, UploadId},
    queue::sqlite::peek_depth,
    shutdown::{Stop, Tasks},
    stack::{Site, Stack, open_meta_to_read, queue_file},
    telemetry::metrics::Registry,
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
    /// Queue the job again. Headworks must be stopped.
    Retry {
        /// The upload.
        #[arg(required_unless_present = "all")]
        id: Option<UploadId>,
        /// All of them.
        #[arg(long, conflicts_with = "id")]
        all: bool,
    },
    /// Forget the letter; the sweep will find the object again. Headworks must be stopped.
    Discard {
        /// The upload.
        id: UploadId,
    },
}

pub(crate) fn run(args: &QueueArgs) -> anyhow::Result<ExitCode> {
    let runtime = short_runtime()?;
    match &args.what {
        What::Depth => depth(&args.place)?,
        What::Dead(Dead::List) => runtime.block_on(list(&args.place))?,
        What::Dead(Dead::Show { id }) => runtime.block_on(show(&args.place, *id))?,
        What::Dead(Dead::Retry { id, .. }) => runtime.block_on(retry(&args.place, *id))?,
        What::Dead(Dead::Discard { id }) => runtime.block_on(discard(&args.place, *id))?,
    }
    Ok(ExitCode::SUCCESS)
}

#[expect(clippy::print_stdout, reason = "this command is there to print")]
fn depth(place: &Place) -> anyhow::Result<()> {
    let settings = place.load()?.settings;
    place.must_be_there()?;
    let depth = peek_depth(&queue_file(&settings, &place.data_dir)?, &Clock::system())?;
    for priority in Priority::ALL {
        let of = priority.index();
        println!(
            "{:8} {} in line, {} delayed",
            priority.as_str(),
            depth.ready[of] + depth.in_flight[of],
            depth.delayed[of]
        );
    }
    println!("{:8} {} of {}", "all", depth.jobs(), settings.queue.capacity);
    Ok(())
}

#[expect(clippy::print_stdout, reason = "this command is there to print")]
async fn list(place: &Place) -> anyhow::Result<()> {
    place.must_be_there()?;
    let meta = open_meta_to_read(&place.load()?.settings, &place.data_dir)?;
    for letter in meta.dead(PAGE).await? {
        println!("{}  {}  {} tries  {}", letter.job.id, letter.at, letter.job.tries, letter.error);
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "this command is there to print")]
async fn show(place: &Place, id: UploadId) -> anyhow::Result<()> {
    place.must_be_there()?;
    let meta = open_meta_to_read(&place.load()?.settings, &place.data_dir)?;
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

/// Opens everything, for this command alone.
pub(crate) async fn open(place: &Place) -> anyhow::Result<(DataDir, Stack)> {
    let settings = place.load()?.settings;
    place.must_be_there()?;
    let lock = DataDir::lock(&place.data_dir)?;
    let budget = Budget::new(settings.ingest.limits.buffer.as_usize());
    let (tasks, registry) = (Tasks::new(Stop::new()), Registry::default());
    let site = Site { data_dir: lock.path(), budget: &budget, tasks: &tasks, registry: &registry };
    let stack = Stack::open(&settings, &site).await?;
    Ok((lock, stack))
}
