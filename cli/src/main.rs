//! The `headworks` command: runs the embedded system, and looks after it.

mod audit;
mod config;
mod docs;
mod health;
mod push;
mod queue;
mod serve;
mod sweep;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};
use headworks_shared::{
    config::{self as settings, Loaded, Mistakes, Settings},
    process::{exit_code, usage},
    stack::{Site, Stores, is_embedded},
};

/// jemalloc gives memory back after a burst, so that the memory gate opens again; `.cargo/config.toml` sets it so.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Backpressured streaming ingest: takes bulk uploads in, and never loses one that it acknowledged.
#[derive(Parser)]
#[command(name = "headworks", version, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run all of it in one process, on local disk and SQLite.
    Serve(serve::ServeArgs),
    /// Upload files and folders, many at a time; what broke off goes on when it is run again.
    Push(push::PushArgs),
    /// Look into the queue, and look after its dead letters.
    Queue(queue::QueueArgs),
    /// Check that every stored object has its row and every row its object, that usage adds up, that no event is there twice.
    Audit(audit::AuditArgs),
    /// Find objects without a row and queue them, and remove what was left behind. Headworks itself does so on its own.
    Sweep(sweep::SweepArgs),
    /// Bring the tables of the metadata up to date. `serve` does so on its own.
    Migrate(Place),
    /// Check, print or explain the settings.
    Config(config::ConfigArgs),
    /// Ask a running Headworks how it is.
    Health(health::HealthArgs),
    /// Write the generated pages of the documentation.
    #[command(hide = true)]
    Docs(docs::DocsArgs),
}

/// Which settings and which data.
#[derive(Args, Clone, Debug)]
pub(crate) struct Place {
    /// The settings file; without it the defaults are in force.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the embedded system keeps its data.
    #[arg(long, global = true, value_name = "DIR", default_value = "./data")]
    data_dir: PathBuf,
}

impl Place {
    /// The settings of this place.
    fn load(&self) -> Result<Loaded, Mistakes> {
        settings::load(self.config.as_deref(), settings::environment())
    }

    /// Opens the stores to read them, beside the processes that write them.
    async fn stores_to_read(&self, settings: &Settings) -> anyhow::Result<Stores> {
        Ok(Stores::open_to_read(settings, &Site::new(&self.data_dir, settings)).await?)
    }

    /// Only `serve` makes a data directory; for the others a wrong name is a mistake. A fleet has none.
    fn must_be_there(&self, settings: &Settings) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.data_dir.is_dir() || !is_embedded(settings),
            "there is no data directory {}: name one with --data-dir",
            self.data_dir.display()
        );
        Ok(())
    }
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(help_or_error) => return usage(&help_or_error),
    };
    exit_code("headworks", run(cli.command))
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve(args) => serve::run(&args),
        Command::Push(args) => push::run(&args),
        Command::Queue(args) => queue::run(&args),
        Command::Audit(args) => audit::run(&args),
        Command::Sweep(args) => sweep::run(&args),
        Command::Migrate(place) => sweep::migrate(&place),
        Command::Config(args) => config::run(&args),
        Command::Health(args) => health::run(&args),
        Command::Docs(args) => docs::run(&args),
    }
}

/// A runtime for one short command.
fn short_runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}
