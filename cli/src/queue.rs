//! `headworks queue`: how full it is, and its dead letters.

use std::{process::ExitCode, sync::Arc};

use anyhow::{Context as _, ensure};
use clap::{Args, Subcommand};
use headworks_shared::{
    data_dir::DataDir,
    meta::{DeadLetter, Store},
    model::{Job, Priority, UploadId},
    stack::{Site, Stack, is_embedded, peek},
};

use crate::{Place, short_runtime};

/// How many dead letters are read at a time.
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
        /// All that are there when the command begins.
        #[arg(long, conflicts_with = "id")]
        all: bool,
    },
    /// Forget the letter; the next deep sweep will find the object again. It is refused for an upload that began more than 26 hours ago,
    /// because no sweep is sure to look there, unless the upload has come to its end. The embedded system must be stopped.
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
    let print = async |letter: DeadLetter| {
        println!("{}  {}  {} tries  {}", letter.job.id, letter.at, letter.job.tries, letter.error);
        Ok(())
    };
    each_letter(&*meta, print).await
}

#[expect(clippy::print_stdout, reason = "this command is there to print")]
async fn show(place: &Place, id: UploadId) -> anyhow::Result<()> {
    let meta = open_to_read(place).await?;
    let letter = letter_of(&*meta, id).await?;
    println!("{}", serde_json::to_string_pretty(&letter.job)?);
    println!("died {}: {}", letter.at, letter.error);
    Ok(())
}

#[expect(clippy::print_stdout, reason = "this command is there to print")]
async fn retry(place: &Place, id: Option<UploadId>) -> anyhow::Result<()> {
    let (_lock, stack) = open(place).await?;
    let queued = match id {
        Some(id) => queue_again(&stack, letter_of(&*stack.meta, id).await?).await.map(|()| 1)?,
        None => queue_all_again(&stack).await?,
    };
    println!("{queued} queued again");
    Ok(())
}

/// Queues the jobs of all letters again, and says how many there were.
async fn queue_all_again(stack: &Stack) -> anyhow::Result<u64> {
    let mut queued = 0;
    let again = async |letter: DeadLetter| {
        let id = letter.job.id;
        let broken_off = || format!("queue the job of {id} again, after {queued} others");
        queue_again(stack, letter).await.with_context(broken_off)?;
        queued += 1;
        Ok(())
    };
    each_letter(&*stack.meta, again).await?;
    Ok(queued)
}

/// On the queue first: if this ends between the two, the letter is there still, and the job is its own repeat. A job that has died
/// again by then has another letter, which stays.
async fn queue_again(stack: &Stack, letter: DeadLetter) -> anyhow::Result<()> {
    stack.queue.push(Job { tries: 0, ..letter.job.clone() }, None).await?;
    stack.meta.discard(&letter).await?;
    Ok(())
}

async fn discard(place: &Place, id: UploadId) -> anyhow::Result<()> {
    let (_lock, stack) = open(place).await?;
    forget(&stack, id).await
}

/// Forgets a letter, unless nobody would know of its upload any more.
async fn forget(stack: &Stack, id: UploadId) -> anyhow::Result<()> {
    let letter = letter_of(&*stack.meta, id).await?;
    let has_ended = stack.meta.states(&[id]).await?.into_iter().any(|state| state.is_some());
    ensure!(
        has_ended || stack.clock.now().since(id.time()) < headworks_processor::DEEP,
        "{id} began more than 26 hours ago, and no sweep is sure to find its object again: \
         use 'headworks queue dead retry {id}'"
    );
    ensure!(stack.meta.discard(&letter).await?, "the job of {id} has died again: look at the new letter");
    Ok(())
}

/// Looks at all letters, the newest first. What dies meanwhile is newer still, and not looked at.
async fn each_letter(
    meta: &dyn Store,
    mut look: impl AsyncFnMut(DeadLetter) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut page = meta.dead(None, PAGE).await?;
    while let Some(last) = page.last().cloned() {
        for letter in page {
            look(letter).await?;
        }
        page = meta.dead(Some(&last), PAGE).await?;
    }
    Ok(())
}

async fn letter_of(meta: &dyn Store, id: UploadId) -> anyhow::Result<DeadLetter> {
    meta.dead_letter(id).await?.with_context(|| format!("no dead letter for {id}"))
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser as _;
    use headworks_shared::{
        clock::Clock,
        config,
        model::{Crc64, Digests, Envelope, JobPayload, Scope, Seal, Timestamp},
    };
    use tempfile::TempDir;

    use super::*;
    use crate::{Cli, Command};

    #[test]
    fn the_settings_may_be_named_before_or_behind_what_is_to_be_done() {
        for line in ["headworks queue --config a.toml depth", "headworks queue dead list --config a.toml"] {
            let Ok(Cli { command: Command::Queue(args) }) = Cli::try_parse_from(line.split(' ')) else {
                panic!("not understood: {line}");
            };
            assert_eq!(args.place.config.as_deref(), Some("a.toml".as_ref()), "{line}");
        }
    }

    async fn stack() -> (TempDir, Stack) {
        let folder = TempDir::new().unwrap();
        let settings = config::load(None, []).unwrap().settings;
        let mut stack = Box::pin(Stack::open(&settings, &Site::new(folder.path(), &settings))).await.unwrap();
        stack.clock = Clock::manual(Timestamp::from_unix_ms(1_800_000_000_000));
        (folder, stack)
    }

    /// Buries the job of an upload that begins now.
    async fn bury(stack: &Stack) -> DeadLetter {
        let envelope = Envelope {
            scope: Scope::default(),
            path: "a".parse().unwrap(),
            content_type: None,
            priority: Priority::Normal,
            only_if_absent: false,
            marker: None,
            request_id: None,
            trace: None,
        };
        let seal =
            Seal { size: 1, digests: Digests { crc64nvme: Crc64(1), sha256: None }, sniffed_type: None };
        let mut job = Job::object_stored(stack.clock.upload_id(), envelope, seal, false);
        job.tries = 5;
        let letter = DeadLetter { job, error: "read object".to_owned(), at: stack.clock.now() };
        stack.meta.bury(&letter).await.unwrap();
        letter
    }

    #[tokio::test]
    async fn all_are_queued_again_however_many_there_are() {
        let (_folder, stack) = stack().await;
        for _ in 0..PAGE + 3 {
            bury(&stack).await;
        }
        assert_eq!(queue_all_again(&stack).await.unwrap(), PAGE as u64 + 3);
        let depth = stack.queue.depth().await.unwrap();
        assert_eq!((depth.jobs(), stack.meta.dead_count().await.unwrap()), (PAGE + 3, 0));
        let claimed = stack.queue.claim(1, Duration::from_secs(5)).await.unwrap();
        assert_eq!(claimed[0].job.tries, 0);
        assert_eq!(queue_all_again(&stack).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_job_that_died_again_keeps_its_new_letter() {
        let (_folder, stack) = stack().await;
        let read = bury(&stack).await;
        stack.clock.advance(Duration::from_secs(1));
        let new = DeadLetter { at: stack.clock.now(), ..read.clone() };
        stack.meta.bury(&new).await.unwrap();
        queue_again(&stack, read).await.unwrap();
        assert_eq!(stack.meta.dead(None, 9).await.unwrap(), [new]);
    }

    #[tokio::test]
    async fn a_letter_is_forgotten_only_where_its_upload_is_not() {
        let (_folder, stack) = stack().await;
        let (young, old, ended) = (bury(&stack).await, bury(&stack).await, bury(&stack).await);
        forget(&stack, young.job.id).await.unwrap();
        let JobPayload::ObjectStoredV1 { envelope, .. } = &ended.job.payload;
        let now = stack.clock.now();
        stack.meta.delete(&envelope.scope, ended.job.id, Some(envelope), now).await.unwrap();
        stack.clock.advance(headworks_processor::DEEP);
        let refused = forget(&stack, old.job.id).await.unwrap_err().to_string();
        assert!(refused.contains(&format!("queue dead retry {}", old.job.id)), "{refused}");
        forget(&stack, ended.job.id).await.unwrap();
        assert_eq!(stack.meta.dead(None, 9).await.unwrap(), [old]);
        assert!(forget(&stack, ended.job.id).await.is_err(), "it is gone");
    }
}
