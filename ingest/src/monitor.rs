//! Looks at memory, disk and queue, moves the gate, and keeps the gauges true.

use std::{pin::Pin, sync::Arc, time::Duration};

use headworks_shared::{
    limits::{Mark, Reason, Sample, Shutter, read_memory},
    report::Report,
    shutdown::{Stop, Tasks},
    storage::{Error as StorageError, Health},
};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tracing::warn;

use crate::App;

/// The longest wait for the store or the queue to say how they are.
const ANSWER: Duration = Duration::from_secs(2);

/// How often a store is looked at that is no disk: each look is a request that is paid for, 17,280 a day for each ingest.
const REMOTE_EVERY: Duration = Duration::from_secs(5);

/// How often the queue's depth is read: often enough for its pace, seldom enough to cost nothing.
const DEPTH_EVERY: Duration = Duration::from_millis(500);

/// How often the most uploads in flight are made to fit how storage does.
const LIMIT_EVERY: Duration = Duration::from_secs(1);

/// Starts looking.
pub(crate) fn start(app: &Arc<App>, tasks: &Tasks) {
    let (sampled, looked_at, limited, counted) =
        (Arc::clone(app), Arc::clone(app), Arc::clone(app), Arc::clone(app));
    app.metrics.buffer_limit_bytes.set(i64::try_from(app.budget.limit_bytes()).unwrap_or(i64::MAX));
    app.metrics.queue_capacity.set(i64::try_from(app.settings.queue.capacity).unwrap_or(i64::MAX));
    app.metrics.show_marks(&app.settings.memory, &app.settings.disk);
    tasks.spawn("memory monitor", move |stop| memory(sampled, stop));
    tasks.spawn("store monitor", move |stop| store(looked_at, stop));
    tasks.spawn("stream limit", move |stop| limit(limited, stop));
    tasks.spawn("queue depth", move |stop| depth(counted, stop));
}

/// Waits for nothing: a store that hangs must not keep the process from seeing how it grows.
async fn memory(app: Arc<App>, stop: Stop) {
    let mut ticks = interval(app.settings.memory.sample_every.0);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looked_at = Instant::now();
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let since = std::mem::replace(&mut looked_at, Instant::now()).elapsed();
        look_at_memory(&app);
        app.metrics.buffered_bytes.set(i64::try_from(app.budget.used_bytes()).unwrap_or(i64::MAX));
        app.metrics.show_gate(&app.admission.gate, since);
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

/// Keeps its own pace: as often as memory where the store is a disk, seldom where each look is paid for.
async fn store(app: Arc<App>, stop: Stop) {
    let (mut look, mut every) = (None, REMOTE_EVERY);
    loop {
        match stop.run_until_cancelled(look_at_store(&app, &mut look)).await {
            None => return,
            // A disk may fill within moments, and looking at it costs nothing.
            Some(Some(Health { free_ratio: Some(_) })) => every = app.settings.memory.sample_every.0,
            Some(Some(Health { free_ratio: None })) => every = REMOTE_EVERY,
            Some(None) => {}
        }
        let rest = if look.is_some() { Duration::ZERO } else { every };
        if stop.run_until_cancelled(sleep(rest)).await.is_none() {
            return;
        }
    }
}

/// A look at the store that may take its time.
type Look = Pin<Box<dyn Future<Output = Result<Health, StorageError>> + Send>>;

/// A look that is not over is waited for again, and no second one begun: each may hold a thread.
async fn look_at_store(app: &App, look: &mut Option<Look>) -> Option<Health> {
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
            if let Some(free) = health.free_ratio {
                look_at_disk(app, free);
            }
            return Some(health);
        }
        Ok(Err(error)) => gate.set(Reason::Store, Shutter::Shut, Report(&error)),
        Err(_) => gate.set(Reason::Store, Shutter::Shut, format_args!("no answer within {ANSWER:?}")),
    }
    None
}

fn look_at_disk(app: &App, free: f64) {
    app.metrics.disk_free_ratio.set(free);
    let disk = &app.settings.disk;
    let mark = Mark { shut_at: 1.0 - disk.shut_below.ratio(), open_at: 1.0 - disk.open_above.ratio() };
    app.admission.gate.measure(Sample { reason: Reason::Disk, ratio: 1.0 - free }, mark);
}

async fn limit(app: Arc<App>, stop: Stop) {
    let mut ticks = interval(LIMIT_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let now = Instant::now();
        app.admission.line.look(now);
        let limit = app.admission.streams.look(now);
        app.metrics.upload_limit.set(i64::try_from(limit).unwrap_or(i64::MAX));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::House;

    #[tokio::test]
    async fn memory_is_sampled_as_often_while_the_store_does_not_answer() {
        let house = House::new().await;
        house.blobs.set_health(None);
        let app = &house.ingest.0;
        tokio::time::pause();
        until(|| app.admission.gate.is_shut_for(Reason::Store)).await;
        let begun = Instant::now();
        for _ in 0..8 {
            app.metrics.memory_used_ratio.set(-1.0);
            until(|| app.metrics.memory_used_ratio.get() >= 0.0).await;
        }
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?} for what takes 2 s", begun.elapsed());
    }

    async fn until(there: impl Fn() -> bool) {
        let come = async {
            while !there() {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_secs(60), come).await.expect("it comes in a minute");
    }

    #[tokio::test]
    async fn a_disk_is_looked_at_often_and_a_store_that_is_paid_for_seldom() {
        let house = House::new().await;
        for (free_ratio, looks) in [(None, 11..=13), (Some(0.5), 230..=245)] {
            house.blobs.set_health(Some(Health { free_ratio }));
            tokio::time::pause();
            // Until the next look, at the pace of before.
            sleep(REMOTE_EVERY).await;
            let before = house.blobs.looks();
            sleep(Duration::from_secs(60)).await;
            let seen = house.blobs.looks() - before;
            assert!(looks.contains(&seen), "{seen} looks in a minute at {free_ratio:?}");
            tokio::time::resume();
        }
    }
}
