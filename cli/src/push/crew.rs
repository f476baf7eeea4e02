//! The run: a walk that finds files, streams that send them, a manifest that remembers them, and signals that end it all.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use async_channel::Receiver;
use headworks_shared::shutdown::{Stop, Tasks};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    task::spawn_blocking,
    time::{MissedTickBehavior, interval_at},
};

use super::{
    board::Board,
    client,
    manifest::{Done, Line, Manifest, VERSION},
    send::{GivenUp, Sending},
    summary::Summary,
    walk::{Item, Walk},
};

/// Files that were found and wait for a stream: enough that no stream waits for the disk. When it is full, the walk waits.
const FOUND: usize = 256;

/// Lines that wait for the manifest. When it is full, streams wait for the disk.
const LINES: usize = 1024;

/// How often the totals are told where there are no bars.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// How long an interrupted run may take to write down what was acknowledged.
const LAST_LINES: Duration = Duration::from_secs(10);

/// What is to be done.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) paths: Vec<PathBuf>,
    pub(super) prefix: String,
    pub(super) parallel: usize,
    pub(super) manifest: Option<Manifest>,
    pub(super) done: Done,
    pub(super) sending: Sending,
}

/// Runs until all is sent or somebody interrupts it; once more, and the last lines of the manifest are not waited for.
///
/// # Errors
/// When signals cannot be listened to.
pub(super) async fn run(run: Run) -> anyhow::Result<Summary> {
    let board = Arc::clone(&run.sending.board);
    let tasks = Tasks::new(Stop::new());
    let mut work = Box::pin(work(run, tasks.clone()));
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut next = async || {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    let interrupted = tokio::select! {
        () = &mut work => false,
        () = tell(&board) => false,
        () = next() => true,
    };
    if interrupted {
        board.say("interrupted: writing down what was acknowledged; once more ends it at once");
        tasks.stop().cancel();
        tokio::select! {
            ended = tokio::time::timeout(LAST_LINES, work) => drop(ended),
            () = next() => {}
        }
    }
    Ok(board.summary(interrupted))
}

/// Walks, sends and writes down, until all streams have ended.
async fn work(run: Run, tasks: Tasks) {
    let Run { paths, prefix, parallel, manifest, done, sending } = run;
    let board = Arc::clone(&sending.board);
    let (found, items) = async_channel::bounded(FOUND);
    let (lines, written) = mpsc::channel(LINES);
    let (to, scope) = (sending.target.server.to_string(), sending.target.scope.clone());
    let except = manifest.as_ref().and_then(|manifest| manifest.identity().ok());
    let walker = Arc::clone(&board);
    // It ends when the streams do: whoever waits for room in a channel without a reader is told.
    drop(spawn_blocking(move || {
        let (done, prefix, to, scope) = (&done, &prefix, &to, &scope);
        Walk { board: &walker, done, to, scope, prefix, except, out: found }.all(&paths)
    }));
    let stream = Arc::new(Stream { sending, items, lines, parallel, gave_up: AtomicUsize::new(0) });
    for _ in 0..parallel {
        let stream = Arc::clone(&stream);
        tasks.spawn("stream", move |stop| async move { stream.run(stop).await });
    }
    drop(stream);
    keep(manifest, written, &board).await;
    tasks.drain(Duration::from_secs(u64::from(u32::MAX))).await;
}

/// Keeps the manifest; without one, nobody reads the lines. A disk that does not take them costs the next run time, not this one its end.
async fn keep(manifest: Option<Manifest>, mut lines: mpsc::Receiver<Line>, board: &Board) {
    match manifest {
        Some(manifest) => {
            if let Err(error) = manifest.keep(lines).await {
                board.failed("the manifest", &format!("{:#}", anyhow::Error::from(error)));
            }
        }
        None => while lines.recv().await.is_some() {},
    }
}

/// Tells the totals from time to time; never ends.
async fn tell(board: &Board) {
    let mut ticks = interval_at(tokio::time::Instant::now() + TELL_EVERY, TELL_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        board.tell_totals();
    }
}

/// One of the parallel streams.
#[derive(Debug)]
struct Stream {
    sending: Sending,
    items: Receiver<Item>,
    lines: mpsc::Sender<Line>,
    parallel: usize,
    /// Files in a row that were given up because nothing moved.
    gave_up: AtomicUsize,
}

impl Stream {
    /// Sends one file after another, until there is none or it is told to stop: then the file under way is cut off.
    async fn run(&self, stop: Stop) {
        let mut line = None;
        loop {
            let one = async {
                let item = if self.hopeless() { None } else { self.items.recv().await.ok() }?;
                Some(self.one(item, &mut line).await)
            };
            let acknowledged = tokio::select! {
                biased;
                one = one => match one {
                    Some(acknowledged) => acknowledged,
                    None => return,
                },
                () = stop.cancelled() => {
                    self.items.close();
                    return;
                }
            };
            // It is written down, whoever interrupts. A manifest that failed has said so.
            if let Some(line) = acknowledged {
                drop(self.lines.send(line).await);
            }
        }
    }

    /// Whether the server has taken nothing of any file for longer than anybody would wait, not even of others than those at the
    /// beginning: then no other file is begun.
    fn hopeless(&self) -> bool {
        let idle = self.sending.pace.moved().elapsed() > self.sending.patience.0;
        let hopeless = idle && self.gave_up.load(Relaxed) > self.parallel;
        if hopeless && self.items.close() {
            self.sending.board.say("the server takes nothing; the other files are not tried");
        }
        hopeless
    }

    async fn one(&self, item: Item, line: &mut Option<client::Line>) -> Option<Line> {
        let board = &self.sending.board;
        let (stamp, receipt) = match self.sending.send(&item, line).await {
            Ok(sent) => sent,
            Err(error) => {
                match error {
                    GivenUp::Impatient { .. } => self.gave_up.fetch_add(1, Relaxed),
                    _ => self.gave_up.swap(0, Relaxed),
                };
                board.given_up(&item.path.display().to_string(), &error.to_string());
                return None;
            }
        };
        self.gave_up.store(0, Relaxed);
        board.stored(&receipt);
        Some(Line {
            v: VERSION,
            to: self.sending.target.server.to_string(),
            scope: self.sending.target.scope.clone(),
            object: item.object,
            path: item.path.display().to_string(),
            stamp,
            id: receipt.id,
            crc64nvme: receipt.digest.crc64nvme,
            status: receipt.status,
        })
    }
}
