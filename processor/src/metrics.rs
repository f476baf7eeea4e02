//! The processor's metrics, every series there from the start.

use std::{sync::Arc, time::Duration};

use headworks_shared::{
    meta,
    model::{Job, Timestamp},
    report::Report,
    shutdown::Stop,
    telemetry::metrics::Registry,
};
use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge};
use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

use crate::{Processor, sweep::SweepReport};

/// How often the gauges are read from the metadata store: a few times within Prometheus' usual 15 s.
const READ_EVERY: Duration = Duration::from_secs(5);

/// How a claim of a job ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum JobOutcome {
    /// The object has its metadata.
    Stored,
    /// The upload failed, and that is written down.
    Failed,
    /// It was done before.
    Known,
    /// It is tried again later.
    Again,
    /// Others may have it; it was not tried.
    GivenBack,
    /// A person must look at it.
    Dead,
}

impl JobOutcome {
    const ALL: [(Self, &'static str); 6] = [
        (Self::Stored, "stored"),
        (Self::Failed, "failed"),
        (Self::Known, "known"),
        (Self::Again, "again"),
        (Self::GivenBack, "given_back"),
        (Self::Dead, "dead"),
    ];
}

/// How a try to deliver ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum DeliveryOutcome {
    /// The receiver has it.
    Delivered,
    /// It is tried again later.
    Retried,
    /// It was tried often enough.
    GivenUp,
    /// The receiver wants nothing more.
    Gone,
}

impl DeliveryOutcome {
    const ALL: [(Self, &'static str); 4] = [
        (Self::Delivered, "delivered"),
        (Self::Retried, "retried"),
        (Self::GivenUp, "given_up"),
        (Self::Gone, "gone"),
    ];
}

/// The kinds of [`Job::kind`].
const KINDS: [&str; 1] = ["object_stored"];

/// All of them.
#[derive(Debug)]
pub(crate) struct Metrics {
    /// One series for each [`JobOutcome`], for each of [`KINDS`]: looked up by place, so that a job costs no hashing of labels.
    jobs: Vec<[IntCounter; 6]>,
    /// From claim to answer.
    pub(crate) job_seconds: Histogram,
    /// Rows of a transaction.
    pub(crate) batch_rows: Histogram,
    /// A transaction, its wait for the writer included.
    pub(crate) persist_seconds: Histogram,
    deliveries: [IntCounter; 4],
    dead_jobs: IntGauge,
    outbox_pending: IntGauge,
    outbox_oldest_age_seconds: IntGauge,
    sweep_adopted: IntCounter,
    sweep_last_success: IntGauge,
}

impl Metrics {
    /// Registers all.
    ///
    /// # Panics
    /// When they are registered already.
    pub(crate) fn new(registry: &Registry) -> Self {
        let jobs = registry.counters(
            "headworks_jobs_total",
            "Claims of jobs that ended, by the job's kind and how.",
            &["kind", "outcome"],
        );
        let deliveries = registry.counters(
            "headworks_deliveries_total",
            "Tries to deliver an event to a receiver, by how they ended.",
            &["outcome"],
        );
        Self {
            jobs: KINDS.map(|kind| JobOutcome::ALL.map(|(_, name)| series(&jobs, &[kind, name]))).into(),
            job_seconds: registry.seconds("headworks_job_seconds", "Time from a job's claim to its answer."),
            batch_rows: registry.sizes("headworks_batch_rows", "Rows written in one transaction."),
            persist_seconds: registry
                .seconds("headworks_persist_seconds", "Time of one transaction of a batch."),
            deliveries: DeliveryOutcome::ALL.map(|(_, name)| series(&deliveries, &[name])),
            dead_jobs: registry.gauge("headworks_dead_jobs", "Dead letters that wait for a person."),
            outbox_pending: registry
                .gauge("headworks_outbox_pending", "Events and deliveries that have not come to an end."),
            outbox_oldest_age_seconds: registry.gauge(
                "headworks_outbox_oldest_age_seconds",
                "Age of the oldest event or delivery that has not come to an end; 0 when there is none.",
            ),
            sweep_adopted: registry.counter(
                "headworks_sweep_adopted_total",
                "Objects without a ledger row whose job was put on the queue (again) by the sweep.",
            ),
            sweep_last_success: registry.gauge(
                "headworks_sweep_last_success_timestamp_seconds",
                "When a sweep last came to its end; 0 before the first.",
            ),
        }
    }

    /// A claim of `job` ended.
    pub(crate) fn ended(&self, job: &Job, outcome: JobOutcome) {
        let kind = KINDS.iter().position(|kind| *kind == job.kind()).unwrap_or_default();
        if let Some(counter) = self.jobs.get(kind).and_then(|outcomes| outcomes.get(outcome as usize)) {
            counter.inc();
        }
    }

    /// A try to deliver ended.
    pub(crate) fn delivery(&self, outcome: DeliveryOutcome) {
        if let Some(counter) = self.deliveries.get(outcome as usize) {
            counter.inc();
        }
    }

    /// A sweep came to its end.
    pub(crate) fn swept(&self, report: &SweepReport, at: Timestamp) {
        self.sweep_adopted.inc_by(report.adopted);
        self.sweep_last_success.set(whole(at.unix_seconds()));
    }

    async fn read(&self, meta: &dyn meta::Store, now: Timestamp) -> Result<(), meta::Error> {
        let backlog = meta.backlog().await?;
        let oldest = backlog.oldest.map(|oldest| now.since(oldest).as_secs()).unwrap_or_default();
        self.outbox_pending.set(whole(backlog.pending));
        self.outbox_oldest_age_seconds.set(whole(oldest));
        self.dead_jobs.set(whole(meta.dead_count().await?));
        Ok(())
    }
}

fn series(metric: &IntCounterVec, labels: &[&str]) -> IntCounter {
    metric.with_label_values(labels)
}

fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Keeps the gauges up to date that only the metadata store can tell.
pub(crate) async fn run(processor: Arc<Processor>, stop: Stop) {
    let mut ticks = interval(READ_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let now = processor.stack.clock.now();
        if let Err(error) = processor.metrics.read(&*processor.stack.meta, now).await {
            warn!(error = %Report(&error), "gauges not read");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_has_its_own_series_from_the_start() {
        let registry = Registry::default();
        let metrics = Metrics::new(&registry);
        let text = registry.render();
        for (place, (outcome, name)) in JobOutcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, place);
            let line = format!("headworks_jobs_total{{kind=\"object_stored\",outcome=\"{name}\"}} 0");
            assert!(text.contains(&line), "{line} in\n{text}");
        }
        for (place, (outcome, name)) in DeliveryOutcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, place);
            metrics.delivery(outcome);
            let line = format!("headworks_deliveries_total{{outcome=\"{name}\"}} 1");
            assert!(registry.render().contains(&line), "{line}");
        }
    }
}
