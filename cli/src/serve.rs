//! `headworks serve`: ingest, processor and catalog in one process.
//!
//! It goes down in the order of an upload's way: first nothing new is admitted, then connections end with what they are at, then
//! the processor ends its batches. A second signal ends it at once; what was acknowledged is safe all the same.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context as _;
use clap::Args;
use headworks_catalog::Catalog;
use headworks_ingest::Ingest;
use headworks_shared::{
    clock::Clock,
    config::{Settings, settings::Shutdown},
    data_dir::DataDir,
    http::{self, Context, Handler, Reply, Rules},
    limits::{Budget, Gate},
    ops::Ops,
    report::Report,
    shutdown::{Stop, Tasks},
    stack::{Stack, is_in_data_dir},
    storage::disk::SYNCING,
    telemetry::logs,
};
use hyper::{Request, body::Incoming};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    time::Instant,
};
use tracing::{info, warn};

use crate::Place;

/// Threads for what blocks: bodies on their way to the disk, and as many again for all that must not wait for them.
const BLOCKING_THREADS: usize = 2 * SYNCING;

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
    headworks_processor::check(&settings)?;
    logs::start(&settings.log);
    raise_file_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()?;
    let data_dir = DataDir::lock(&args.place.data_dir)?;
    let ended = runtime.block_on(serve(&settings, &data_dir));
    // What still blocks (a reader of a slow disk) must not hold up the end.
    runtime.shutdown_timeout(Duration::from_secs(1));
    ended
}

async fn serve(settings: &Settings, data_dir: &DataDir) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::new()?;
    let system = System::start(settings, data_dir).await?;
    system.announce()?;
    signals.next().await;
    tokio::select! {
        () = system.drain(&settings.shutdown) => Ok(ExitCode::SUCCESS),
        () = signals.next() => {
            warn!("stopped at once");
            Ok(ExitCode::FAILURE)
        }
    }
}

/// All of Headworks, running.
struct System {
    ingest: Ingest,
    listen: SocketAddr,
    admin: SocketAddr,
    data_dir: PathBuf,
    connections: Tasks,
    intake: Tasks,
    processor: Tasks,
    operators: Tasks,
}

impl System {
    async fn start(settings: &Settings, data_dir: &DataDir) -> anyhow::Result<Self> {
        let listener = listen("ingest.listen", settings.ingest.listen)?;
        let admin = listen("ingest.admin", settings.ingest.admin)?;
        let [connections, intake, processor, operators] = std::array::from_fn(|_| Tasks::new(Stop::new()));
        let gate = Gate::default();
        let budget = Budget::new(settings.ingest.limits.buffer.as_usize());
        let stack = Stack::open(settings, data_dir.path(), &budget, &connections)?;
        // In our own directory the lock says that nobody else is at it: what is staged was left behind by a crash. Elsewhere the sweep
        // has to tell by its age.
        let ours = is_in_data_dir(&settings.storage.url);
        let left_behind = if ours { stack.blobs.sweep_unfinished(Duration::ZERO).await? } else { 0 };
        let ingest = Ingest::start(&stack, settings, gate.clone(), &budget, &intake);
        headworks_processor::start(&stack, settings, &processor)?;
        let system = Self {
            ingest: ingest.clone(),
            listen: listener.local_addr()?,
            admin: admin.local_addr()?,
            data_dir: data_dir.path().to_owned(),
            connections,
            intake,
            processor,
            operators,
        };
        let public = Arc::new(Public::new(&stack, ingest));
        let rules = Rules::from(&settings.ingest.limits);
        system.listen_on(listener, public, rules, &system.connections);
        system.listen_on(admin, Ops::new(&stack, &gate), rules, &system.operators);
        info!(listen = %system.listen, admin = %system.admin, left_behind, "started");
        Ok(system)
    }

    fn listen_on<H: Handler>(&self, listener: TcpListener, handler: Arc<H>, rules: Rules, tasks: &Tasks) {
        let own = tasks.clone();
        tasks.spawn("listener", move |stop| http::serve(listener, handler, rules, own, stop));
    }

    /// Says where it listens, and how to try it.
    #[expect(clippy::print_stdout, reason = "this is what a person who starts it wants to see")]
    fn announce(&self) -> anyhow::Result<()> {
        use std::io::Write as _;
        println!("Headworks listens on http://{} (operators: http://{}/healthz)", self.listen, self.admin);
        println!("It keeps its data in {}", self.data_dir.display());
        println!("Try it:  echo 'Hello, Headworks' | curl -T - http://{}/v1/files/hello.txt", self.listen);
        Ok(std::io::stdout().flush()?)
    }

    async fn drain(&self, settings: &Shutdown) {
        let until = Instant::now() + settings.drain_delay.0 + settings.grace.0;
        let left = || until.saturating_duration_since(Instant::now());
        self.ingest.drain();
        tokio::time::sleep(settings.drain_delay.0).await;
        for (part, tasks) in
            [("connections", &self.connections), ("intake", &self.intake), ("processor", &self.processor)]
        {
            tasks.stop().cancel();
            if !tasks.drain(left()).await {
                warn!(part, left = tasks.len(), "the grace is over, the rest is cut off");
            }
        }
        self.operators.stop().cancel();
        info!("stopped");
    }
}

/// The public listener: reading is the catalog's, the rest is ingest's.
struct Public {
    ingest: Ingest,
    catalog: Catalog,
    clock: Clock,
    metrics: http::Metrics,
}

impl Public {
    fn new(stack: &Stack, ingest: Ingest) -> Self {
        let routes = [headworks_ingest::ROUTES, headworks_catalog::ROUTES].concat();
        let metrics = http::Metrics::new(&stack.registry, &routes);
        Self { ingest, catalog: Catalog::new(stack), clock: stack.clock.clone(), metrics }
    }
}

impl Handler for Public {
    async fn handle(&self, request: Request<Incoming>) -> Reply {
        let begun = Instant::now();
        let context = Context::of(request.headers(), &self.clock);
        let (head, body) = request.into_parts();
        let (route, result) = match self.catalog.handle(&head, &context.request_id).await {
            Some(answered) => answered,
            None => self.ingest.handle(Request::from_parts(head, body), &context).await,
        };
        let reply = context.answer(result);
        self.metrics.answered(route, reply.status(), begun.elapsed());
        reply
    }
}

/// SIGTERM and SIGINT, whichever comes.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

fn listen(setting: &'static str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    http::listen(address).with_context(|| format!("listen on {address} ({setting})"))
}

/// Every stream takes a file or two, and a socket.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        warn!(error = %Report(&error), "the limit of open files stays as it is");
    }
}
