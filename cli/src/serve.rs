//! `headworks serve`: ingest, processor and catalog in one process.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use clap::Args;
use headworks_catalog::Catalog;
use headworks_ingest::Ingest;
use headworks_shared::{
    config::Settings,
    data_dir::DataDir,
    http::{Context, Front, Problem, Reply, RequestBody, Routes},
    process::{Process, Scheduling, Unusable, work},
    stack::{Stack, is_in_data_dir},
};
use hyper::Request;
use tracing::info;

use crate::Place;

#[derive(Args, Debug)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    place: Place,
    /// The address for uploads and reading, over the settings' `ingest.listen`.
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// The address for operators, over the settings' `ingest.admin`.
    #[arg(long, value_name = "ADDR")]
    admin: Option<SocketAddr>,
}

pub(crate) fn run(args: &ServeArgs) -> anyhow::Result<ExitCode> {
    let mut settings = args.place.load()?.settings;
    settings.ingest.listen = args.listen.unwrap_or(settings.ingest.listen);
    settings.ingest.admin = args.admin.unwrap_or(settings.ingest.admin);
    headworks_processor::check(&settings).map_err(Unusable::new)?;
    let data_dir = &args.place.data_dir;
    work(&settings, Scheduling::InTurn, async |signals| {
        let _locked = DataDir::lock(data_dir)?;
        let mut process = Process::new("headworks", &settings, data_dir);
        let started = start(&settings, data_dir, &mut process).await?;
        announce(&started)?;
        Ok(process.until_stopped(&settings.shutdown, signals).await)
    })
}

/// Where the system is.
struct Started {
    listen: SocketAddr,
    admin: SocketAddr,
    data_dir: PathBuf,
}

async fn start(settings: &Settings, data_dir: &Path, process: &mut Process) -> anyhow::Result<Started> {
    process.reserve(("ingest.listen", settings.ingest.listen))?;
    let admin = process.answer_operators(("ingest.admin", settings.ingest.admin))?;
    let stack = Stack::open(settings, &process.site).await?;
    // In our own directory the lock says that nobody else is at it: what is staged was left behind by a crash. Elsewhere the sweep
    // has to tell by its age.
    let ours = is_in_data_dir(&settings.storage.url);
    let left_behind = if ours { stack.blobs.sweep_unfinished(Duration::ZERO).await? } else { 0 };
    let intake = process.add_intake();
    let ingest = Ingest::start(&stack, settings, process.gate.clone(), &process.site.budget, &intake);
    headworks_processor::start(&stack, settings, &process.add("processor"))?;
    let public = Public { ingest, catalog: Catalog::new(&stack.stores()) };
    let routes = [headworks_ingest::ROUTES, headworks_catalog::ROUTES].concat();
    let front = Front::new(public, &routes, &stack.clock, &stack.registry);
    let listen = process.listen(Arc::new(front))?;
    process.ops.started(&stack);
    info!(%listen, %admin, left_behind, "started");
    Ok(Started { listen, admin, data_dir: data_dir.to_owned() })
}

/// Says where it listens, and how to try it.
#[expect(clippy::print_stdout, reason = "this is what a person who starts it wants to see")]
fn announce(started: &Started) -> anyhow::Result<()> {
    use std::io::Write as _;
    let Started { listen, admin, data_dir } = started;
    println!("Headworks listens on http://{listen} (operators: http://{admin}/healthz)");
    println!("It keeps its data in {}", data_dir.display());
    println!("Try it:  echo 'Hello, Headworks' | curl -T - http://{listen}/v1/files/hello.txt");
    Ok(std::io::stdout().flush()?)
}

/// The public listener: reading is the catalog's, the rest is ingest's.
struct Public {
    ingest: Ingest,
    catalog: Catalog,
}

impl Routes for Public {
    async fn answer(
        &self,
        request: Request<RequestBody>,
        context: &Context,
    ) -> (&'static str, Result<Reply, Problem>) {
        let (head, body) = request.into_parts();
        match self.catalog.handle(&head, &context.request_id).await {
            Some(answered) => answered,
            None => self.ingest.handle(Request::from_parts(head, body), context).await,
        }
    }
}
