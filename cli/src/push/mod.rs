//! `headworks push`: uploads files and folders, many at a time, to any Headworks.
//!
//! What it is good for: a server that says "not now" is left alone for as long as it asks, what breaks is tried again, and a run that was
//! killed goes on where it was when it is started again with the same words. Two things make that safe. The manifest remembers what was
//! acknowledged; and for what it does not know, each file has an `Idempotency-Key` that follows from the file, so that the server
//! answers a repeat within 12 hours as it did the first time.

mod answer;
mod bars;
mod board;
mod client;
mod crew;
mod key;
mod manifest;
mod meter;
mod operand;
mod pace;
mod retry;
mod send;
mod source;
mod summary;
mod target;
#[cfg(test)]
mod tests;
mod walk;
mod words;

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use headworks_shared::{
    config::Span,
    model::{self, ObjectPath, Scope},
    process::{Unusable, raise_file_limit},
};

use self::{
    board::Board,
    client::Client,
    crew::Run,
    manifest::{Done, Manifest},
    pace::Pace,
    send::Sending,
    target::{Server, Target},
};

/// Threads for what blocks: reading files, the walk, the manifest. More than a disk has use for.
const BLOCKING_THREADS: usize = 64;

#[derive(Args, Debug)]
pub(crate) struct PushArgs {
    /// Files and folders, or - for a list on standard input, one path a line. A folder goes up under its own name, as with `cp -r`; what
    /// a list names goes up under the path as it is written there. Symbolic links below a folder are passed over.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// The server, as in http://127.0.0.1:8080.
    #[arg(long, value_name = "URL")]
    to: Server,
    /// How many files are sent at once, from 1 to 1000. Fewer where the server says that it is too many.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1000))]
    parallel: u16,
    /// Put everything below this path.
    #[arg(long, value_name = "PATH")]
    prefix: Option<ObjectPath>,
    /// The organisation.
    #[arg(long, default_value = "default")]
    org: String,
    /// The project.
    #[arg(long, default_value = "default")]
    project: String,
    /// How urgent the server's work on these files is.
    #[arg(long, value_enum, default_value_t)]
    priority: Priority,
    /// When a file is given up: after this time in which nothing of it got further.
    #[arg(long, value_name = "TIME", default_value = "10m")]
    patience: Span,
    /// Where to remember what was acknowledged; the next run passes it over, if it has the same size and time.
    #[arg(long, value_name = "FILE", default_value = "headworks-push.jsonl")]
    manifest: PathBuf,
    /// Remember nothing: send everything, whatever was sent before.
    #[arg(long, conflicts_with = "manifest")]
    no_manifest: bool,
    /// Say a line for each file.
    #[arg(long)]
    verbose: bool,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Priority {
    High,
    #[default]
    Normal,
    Low,
}

impl From<Priority> for model::Priority {
    fn from(priority: Priority) -> Self {
        match priority {
            Priority::High => Self::High,
            Priority::Normal => Self::Normal,
            Priority::Low => Self::Low,
        }
    }
}

/// Sends all that is named, and says how it went.
///
/// # Errors
/// When the command line or the manifest cannot be used, or the machine has no root certificates for an `https` server.
pub(crate) fn run(args: &PushArgs) -> anyhow::Result<ExitCode> {
    let run = prepare(args)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()?;
    let ended = runtime.block_on(async { crew::run(run()?).await });
    // What still blocks (a read of standard input, a slow disk) must not hold up the end.
    runtime.shutdown_background();
    let summary = ended?;
    write!(std::io::stdout().lock(), "{summary}").context("say how it went")?;
    Ok(summary.exit_code())
}

/// Checks everything that can be wrong before the first file; the rest needs a runtime.
fn prepare(args: &PushArgs) -> anyhow::Result<impl FnOnce() -> anyhow::Result<Run>> {
    let scope = Scope::new(&args.org, &args.project).map_err(Unusable::new)?;
    let (manifest, done) = match args.no_manifest {
        true => (None, Done::new()),
        false => remembered(&args.manifest)?,
    };
    let client = Client::new(&args.to).context("read this machine's root certificates")?;
    let target = Target { server: args.to.clone(), scope, priority: args.priority.into() };
    let (paths, parallel) = (args.paths.clone(), usize::from(args.parallel));
    let prefix = args.prefix.as_ref().map(ToString::to_string).unwrap_or_default();
    let (patience, verbose) = (args.patience, args.verbose);
    Ok(move || {
        // Every stream takes a file and a socket. Where the limit stays as it is, files beyond it fail and say so.
        raise_file_limit().ok();
        let (pace, board) = (Arc::new(Pace::new(parallel)), Arc::new(Board::new(verbose)));
        let sending = Sending { target, client, pace, board, patience };
        Ok(Run { paths, prefix, parallel, manifest, done, sending })
    })
}

/// The manifest, and what is in it. That it is somebody else's file is a mistake of the command line.
fn remembered(path: &Path) -> anyhow::Result<(Option<Manifest>, Done)> {
    match Manifest::open(path) {
        Ok((manifest, done)) => Ok((Some(manifest), done)),
        Err(error @ manifest::Error::Io(..)) => Err(error.into()),
        Err(mistake) => Err(Unusable::new(mistake).into()),
    }
}
