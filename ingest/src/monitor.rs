//! Looks at memory, disk and queue, moves the gate, and keeps the gauges true.

use std::{pin::Pin, sync::Arc, time::Duration};

use headworks_shared::{
    limits::{Mark, Reason, Sample, Shutter, read_memory},
    report::Report,
    shutdown::{Stop, Tasks},
    storage::{Error as StorageError, Health},
};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tracing::warn;

use crate::App;

/// The longest wait for the store or the queue to say how they are.
const ANSWER: Duration = Duration::from_secs(2);

/// How often the queue's depth is read: often enough for its pace, seldom enough to cost nothing.
const DEPTH_EVERY: Duration = Duration::from_millis(500);

/// Starts looking.
pub(crate) fn start(app: &Arc<App>, tasks: &Tasks) {
    let (sampled, counted) = (Arc::clone(app), Arc::clone(app));
    app.metrics.buffer_limit_bytes.set(i64::try_from(app.budget.limit_bytes()).unwrap_or(i64::MAX));
    app.metrics.queue_capacity.set(i64::try_from(app.settings.queue.capacity).unwrap_or(i64::MAX));
    tasks.spawn("monitor", move |stop| sample(sampled, stop));
    tasks.spawn("queue depth", move |stop| depth(counted, stop));
}

async fn sample(app: Arc<App>, stop: Stop) {
    let mut ticks = interval(app.settings.memory.sample_every.0);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut look = None;
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        look_at_memory(&app);
        look_at_store(&app, &mut look).await;
        app.metrics.buffered_bytes.set(i64::try_from(app.budget.used_bytes()).unwrap_or(i64::MAX));
        app.metrics.show_gate(&app.admission.gate);
    }
}

fn look_at_memory(app: &App) {
    let memory = &app.settings.memory;
    let ratio = read_memory().ratio();
    app.metrics.memory_used_ratio.set(ratio);
    let mark = Mark { shut_at: memory.shut_above.ratio(), open_at: memory.open_below.ratio() };
    app.admission.gate.measure(Sample { reason: Reason::Memory, ratio }, mark);
    // In between, streams go on or stay held, so that they do not flap.
    if ratio >= memory.critical.ratio() {
        app.budget.hold();
    } else if ratio < memory.shut_above.ratio() {
        app.budget.release();
    }
}

/// A look at the store that may take its time.
type Look = Pin<Box<dyn Future<Output = Result<Health, StorageError>> + Send>>;

/// A look that is not over is waited for again, and no second one begun: each may hold a thread.
async fn look_at_store(app: &App, look: &mut Option<Look>) {
    let blobs = Arc::clone(&app.stack.blobs);
    let looking = look.get_or_insert_with(|| Box::pin(async move { blobs.health().await }));
    let looked = timeout(ANSWER, looking).await;
    if looked.is_ok() {
        *look = None;
    }
    let gate = &app.admission.gate;
    match looked {
        Ok(Ok(health)) => {
            gate.set(Reason::Store, Shutter::Open, "it answers");
            let Some(free) = health.free_ratio else { return };
            app.metrics.disk_free_ratio.set(free);
            let disk = &app.settings.disk;
            let mark =
                Mark { shut_at: 1.0 - disk.shut_below.ratio(), open_at: 1.0 - disk.open_above.ratio() };
            gate.measure(Sample { reason: Reason::Disk, ratio: 1.0 - free }, mark);
        }
        Ok(Err(error)) => gate.set(Reason::Store, Shutter::Shut, Report(&error)),
        Err(_) => gate.set(Reason::Store, Shutter::Shut, format_args!("no answer within {ANSWER:?}")),
    }
}

async fn depth(app: Arc<App>, stop: Stop) {
    let mut ticks = interval(DEPTH_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        match timeout(ANSWER, app.stack.queue.depth()).await {
            Ok(Ok(depth)) => {
                app.admission.credits.observe(&depth, Instant::now());
                app.metrics.show_depth(&depth);
            }
            Ok(Err(error)) => warn!(error = %Report(&error), "queue not looked at"),
            Err(_) => warn!(waited = ?ANSWER, "queue does not answer"),
        }
    }
}
