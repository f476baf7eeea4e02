//! What every long-running binary does around its part of the work: settings, logs, runtime, listeners, signals, and the way down.
//!
//! Operators are answered from the first moment, and the public address is taken, so that a wrong one is told at once. A dependency
//! that cannot be reached at the start is waited for, un-ready; one that must not be used as it is ends the process with the reason.
//! On SIGTERM nothing new is taken first, then the parts end in the order of an upload's way, within the grace; a second signal ends
//! it at once, and what was acknowledged is safe all the same.

mod manager;
mod scheduling;

use std::{
    net::SocketAddr,
    num::NonZero,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    thread,
    time::Duration,
};

use anyhow::Context as _;
use clap::Parser;
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    time::{Instant, sleep},
};
use tracing::{debug, info, warn};

pub use self::scheduling::Scheduling;
use self::{manager::Manager, scheduling::schedule};
use crate::{
    config::{self, Loaded, Mistakes, Settings, settings::Shutdown},
    http::{self, Bound, Handler, Rules},
    limits::{Gate, Reason, Shutter},
    ops::Ops,
    report::Report,
    resilience::Backoff,
    shutdown::{Stop, Tasks},
    stack::{OpenError, Site},
    storage::disk::SYNCING,
    telemetry::{build, logs},
};

/// Usage or settings are wrong (`EX_USAGE` of sysexits.h).
pub const EX_USAGE: u8 = 64;

/// Threads for what blocks: bodies on their way to the disk, and as many again for all that must not wait for them.
const BLOCKING_THREADS: usize = 2 * SYNCING;

/// A part of Headworks that has a process of its own.
pub trait Part: Sized {
    /// The binary's name.
    const NAME: &'static str;

    /// How the cores are shared among its threads.
    const SCHEDULING: Scheduling = Scheduling::Usual;

    /// What the settings' own rules cannot know.
    ///
    /// # Errors
    /// All mistakes at once.
    fn check(settings: &Settings) -> Result<(), Unusable>;

    /// Where operators ask, and the setting that says so.
    fn admin(settings: &Settings) -> (&'static str, SocketAddr);

    /// Where it listens to the public, if it does, and the setting that says so.
    fn public(settings: &Settings) -> Option<(&'static str, SocketAddr)>;

    /// Opens what it stands on. Tried again when what failed may pass.
    fn open(settings: &Settings, site: &Site) -> impl Future<Output = Result<Self, OpenError>> + Send;

    /// Starts its work, and says what to stop, in order.
    ///
    /// # Errors
    /// When an address cannot be listened on.
    fn start(self, settings: &Settings, process: &mut Process) -> anyhow::Result<()>;
}

/// Settings that keep their own rules, but cannot be used.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Unusable(Box<dyn std::error::Error + Send + Sync>);

impl Unusable {
    /// For this reason.
    pub fn new(reason: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self(Box::new(reason))
    }
}

/// A fleet binary's command line.
#[derive(Parser, Debug)]
#[command(version, disable_help_subcommand = true)]
struct Arguments {
    /// The settings file; without it the defaults are in force.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Say all that is wrong with the settings, and end.
    #[arg(long)]
    check: bool,
}

/// Runs a part of the fleet until it is told to stop.
pub fn main<P: Part>() -> ExitCode {
    match Arguments::try_parse() {
        Ok(arguments) => exit_code(P::NAME, run::<P>(&arguments)),
        Err(help_or_error) => usage(&help_or_error),
    }
}

/// Prints what the command line asks for, or what is wrong with it.
pub fn usage(help_or_error: &clap::Error) -> ExitCode {
    // Nobody reads what cannot be printed.
    drop(help_or_error.print());
    if help_or_error.use_stderr() { ExitCode::from(EX_USAGE) } else { ExitCode::SUCCESS }
}

/// What an outcome is to the shell; an error is told on standard error.
#[expect(clippy::print_stderr, reason = "the log may not have begun")]
pub fn exit_code(name: &str, outcome: anyhow::Result<ExitCode>) -> ExitCode {
    outcome.unwrap_or_else(|error| {
        eprintln!("{name}: {error:#}");
        if error.is::<Mistakes>() || error.is::<Unusable>() {
            ExitCode::from(EX_USAGE)
        } else {
            ExitCode::FAILURE
        }
    })
}

#[expect(clippy::print_stdout, reason = "`--check` is there to print")]
fn run<P: Part>(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let Loaded { settings, .. } = &config::load(arguments.config.as_deref(), config::environment())?;
    P::check(settings)?;
    if arguments.check {
        println!("the settings are fine");
        return Ok(ExitCode::SUCCESS);
    }
    work(settings, P::SCHEDULING, async |signals: &mut Signals| {
        let mut process = Process::new(P::NAME, settings, Path::new("."));
        P::public(settings).map(|public| process.reserve(public)).transpose()?;
        process.answer_operators(P::admin(settings))?;
        let Some(part) = process.open::<P>(settings, signals).await? else { return Ok(ExitCode::SUCCESS) };
        part.start(settings, &mut process)?;
        info!(part = P::NAME, addresses = ?process.addresses, "started");
        Ok(process.until_stopped(&settings.shutdown, signals).await)
    })
}

/// Threads of the runtime beside one for each core: where files are written on the spot, each core can be at that, and somebody still
/// has time for everything else. A thousand streams of 1 MiB are half as fast again with one.
const SPARE_THREADS: usize = 1;

/// Starts the log and the runtime, and runs `work` on it.
///
/// # Errors
/// Those of `work`.
pub fn work(
    settings: &Settings,
    scheduling: Scheduling,
    work: impl AsyncFnOnce(&mut Signals) -> anyhow::Result<ExitCode>,
) -> anyhow::Result<ExitCode> {
    logs::start(&settings.log);
    if let Err(error) = raise_file_limit() {
        warn!(error = %Report(&error), "the limit of open files stays as it is");
    }
    if let Err(error) = schedule(scheduling) {
        debug!(error = %Report(&error), "the kernel's scheduling policy stays as it is");
    }
    let cores = thread::available_parallelism().map_or(2, NonZero::get);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores + SPARE_THREADS)
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()?;
    let ended = runtime.block_on(async { work(&mut Signals::new()?).await });
    // What still blocks (a reader of a slow disk) must not hold up the end.
    runtime.shutdown_timeout(Duration::from_secs(1));
    ended
}

/// An address on its way to be listened on.
#[derive(Debug)]
struct Reserved {
    setting: &'static str,
    address: SocketAddr,
    bound: Bound,
}

impl Reserved {
    fn new((setting, address): (&'static str, SocketAddr), rules: &Rules) -> anyhow::Result<Self> {
        let bound = Bound::to(address, rules).with_context(|| format!("listen on {address} ({setting})"))?;
        Ok(Self { setting, address, bound })
    }

    fn listen(self) -> anyhow::Result<TcpListener> {
        let Self { setting, address, bound } = self;
        bound.listen().with_context(|| format!("listen on {address} ({setting})"))
    }
}

/// A process at work.
#[derive(Debug)]
pub struct Process {
    /// Whether new work is taken.
    pub gate: Gate,
    /// What it opens its backends with. Its tasks are connections, and what must be finished for them though they go away: the first to
    /// be stopped.
    pub site: Site,
    /// What operators are told.
    pub ops: Arc<Ops>,
    /// Where it listens, by setting.
    addresses: Vec<(&'static str, SocketAddr)>,
    /// Where the public will be listened to.
    reserved: Option<Reserved>,
    parts: Vec<(&'static str, Tasks)>,
    operators: Tasks,
    rules: Rules,
    manager: Manager,
    /// Whether it is one of those whose gate keeps anybody out.
    takes_in: bool,
}

impl Process {
    /// A process of this binary that does nothing yet.
    pub fn new(binary: &str, settings: &Settings, data_dir: &Path) -> Self {
        let (gate, site) = (Gate::default(), Site::new(data_dir, settings));
        build::show(&site.registry, binary);
        Self {
            ops: Ops::new(&site.registry, &gate),
            gate,
            parts: vec![("connections", site.tasks.clone())],
            site,
            addresses: Vec::new(),
            reserved: None,
            operators: Tasks::new(Stop::new()),
            rules: Rules::from(settings),
            manager: Manager::find(config::environment()),
            takes_in: false,
        }
    }

    /// The tasks of what takes uploads in.
    pub fn add_intake(&mut self) -> Tasks {
        self.takes_in = true;
        self.add("intake")
    }

    /// Tasks that are stopped after all that were added before.
    pub fn add(&mut self, part: &'static str) -> Tasks {
        let tasks = Tasks::new(Stop::new());
        self.parts.push((part, tasks.clone()));
        tasks
    }

    /// Takes the address for the public, where nobody is answered yet.
    ///
    /// # Errors
    /// When the address is taken or not ours.
    pub fn reserve(&mut self, public: (&'static str, SocketAddr)) -> anyhow::Result<()> {
        self.reserved = Some(Reserved::new(public, &self.rules)?);
        Ok(())
    }

    /// Answers the public, at the address that was reserved.
    ///
    /// # Errors
    /// When there is none, or somebody else listens there by now.
    pub fn listen<H: Handler>(&mut self, handler: Arc<H>) -> anyhow::Result<SocketAddr> {
        let (reserved, tasks) = (self.reserved.take(), self.site.tasks.clone());
        self.listen_as(reserved.context("no address is reserved")?, handler, &tasks)
    }

    /// Opens the listener for operators, who are answered to the very end.
    ///
    /// # Errors
    /// When the address is taken or not ours.
    pub fn answer_operators(&mut self, admin: (&'static str, SocketAddr)) -> anyhow::Result<SocketAddr> {
        let (ops, tasks) = (Arc::clone(&self.ops), self.operators.clone());
        self.listen_as(Reserved::new(admin, &self.rules)?, ops, &tasks)
    }

    fn listen_as<H: Handler>(
        &mut self,
        reserved: Reserved,
        handler: Arc<H>,
        tasks: &Tasks,
    ) -> anyhow::Result<SocketAddr> {
        let (setting, listener) = (reserved.setting, reserved.listen()?);
        let listens = listener.local_addr()?;
        self.addresses.push((setting, listens));
        let (own, rules) = (tasks.clone(), self.rules);
        tasks.spawn("listener", move |stop| http::serve(listener, handler, rules, own, stop));
        Ok(listens)
    }

    /// Opens a part, again and again while what it stands on cannot be reached; `None` when a signal came first.
    async fn open<P: Part>(&self, settings: &Settings, signals: &mut Signals) -> anyhow::Result<Option<P>> {
        let mut failures = 0;
        loop {
            let opened = tokio::select! {
                opened = P::open(settings, &self.site) => opened,
                () = signals.next() => return Ok(None),
            };
            match opened {
                Ok(part) => return Ok(Some(part)),
                Err(error) if error.may_pass() => {
                    failures += 1;
                    self.manager.status(format_args!("not started yet: {}", Report(&error)));
                    warn!(failures, error = %Report(&error), "not started yet, it is tried again");
                }
                Err(error) => return Err(error.into()),
            }
            tokio::select! {
                () = sleep(Backoff::START.wait(failures)) => {}
                () = signals.next() => return Ok(None),
            }
        }
    }

    /// Works until a signal comes, then goes down; at once when there is another one.
    pub async fn until_stopped(self, settings: &Shutdown, signals: &mut Signals) -> ExitCode {
        self.manager.ready();
        let (manager, gate) = (self.manager.clone(), self.takes_in.then(|| self.gate.clone()));
        self.operators.spawn("service manager", |stop| manager.keep_told(gate, stop));
        signals.next().await;
        tokio::select! {
            () = self.stop(settings) => ExitCode::SUCCESS,
            () = signals.next() => {
                warn!("stopped at once");
                ExitCode::FAILURE
            }
        }
    }

    async fn stop(&self, settings: &Shutdown) {
        self.manager.stopping();
        let until = Instant::now() + settings.drain_delay.0 + settings.grace.0;
        self.gate.set(Reason::Drain, Shutter::Shut, "stopping");
        sleep(settings.drain_delay.0).await;
        for (part, tasks) in &self.parts {
            tasks.stop().cancel();
            if !tasks.drain(until.saturating_duration_since(Instant::now())).await {
                warn!(part, left = tasks.len(), "the grace is over, the rest is cut off");
            }
        }
        self.operators.stop().cancel();
        info!("stopped");
    }
}

/// SIGTERM and SIGINT, whichever comes.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next one.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Lets this process open as many files and sockets as it may: every stream takes a file or two, and a socket.
///
/// # Errors
/// When the kernel does not let it.
pub fn raise_file_limit() -> std::io::Result<()> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    Ok(setrlimit(Resource::Nofile, limit)?)
}
