//! What ingest tells of itself.

use std::time::Duration;

use headworks_shared::{
    config::settings::{Disk, Memory},
    limits::{Gate, Reason},
    model::Priority,
    queue::Depth,
    telemetry::metrics::Registry,
};
use prometheus::{CounterVec, Gauge, GaugeVec, Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

/// How uploads reach us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Protocol {
    Simple,
    Form,
}

impl Protocol {
    const ALL: [Self; 2] = [Self::Simple, Self::Form];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Simple => "simple",
            Self::Form => "form",
        }
    }
}

/// How uploads end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    Accepted,
    Deferred,
    Repeated,
    Rejected,
    Refused,
    Broken,
    Failed,
}

impl Outcome {
    const ALL: [Self; 7] = [
        Self::Accepted,
        Self::Deferred,
        Self::Repeated,
        Self::Rejected,
        Self::Refused,
        Self::Broken,
        Self::Failed,
    ];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Deferred => "deferred",
            Self::Repeated => "repeated",
            Self::Rejected => "rejected",
            Self::Refused => "refused",
            Self::Broken => "broken",
            Self::Failed => "failed",
        }
    }
}

/// Ingest's metrics.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) in_flight: IntGauge,
    pub(crate) upload_limit: IntGauge,
    pub(crate) uploads: IntCounterVec,
    pub(crate) bytes: IntCounter,
    pub(crate) commit_seconds: Histogram,
    pub(crate) refusals: IntCounterVec,
    pub(crate) intake_open: IntGauge,
    pub(crate) intake_shut: IntGaugeVec,
    pub(crate) intake_shut_seconds: CounterVec,
    pub(crate) buffered_bytes: IntGauge,
    pub(crate) buffer_limit_bytes: IntGauge,
    pub(crate) memory_used_ratio: Gauge,
    pub(crate) disk_free_ratio: Gauge,
    gate_marks: GaugeVec,
    pub(crate) queue_depth: IntGaugeVec,
    pub(crate) queue_capacity: IntGauge,
    pub(crate) queue_oldest_seconds: Gauge,
}

impl Metrics {
    pub(crate) fn new(registry: &Registry) -> Self {
        let metrics = Self {
            in_flight: registry.gauge("headworks_uploads_in_flight", "Uploads admitted and not yet answered."),
            upload_limit: registry.gauge("headworks_uploads_limit", "The most uploads in flight: ingest.limits.streams, or fewer while storage is slow."),
            uploads: registry.counters(
                "headworks_uploads_total",
                "Uploads by protocol and outcome: accepted, deferred (the queue could not be reached), repeated (the same Idempotency-Key), rejected (the request was wrong), refused (not now), broken (the body broke off), failed (our side).",
                &["protocol", "outcome"],
            ),
            bytes: registry.counter("headworks_upload_bytes_total", "Bytes of accepted uploads."),
            commit_seconds: registry.seconds("headworks_upload_commit_seconds", "Time from a body's last byte to the upload's answer."),
            refusals: registry.counters("headworks_refusals_total", "Uploads refused before their body, by reason.", &["reason"]),
            intake_open: registry.gauge("headworks_intake_open", "1 while new uploads are taken, 0 while the gate is shut."),
            intake_shut: registry.gauges("headworks_intake_shut", "1 while the gate is shut for this reason.", &["reason"]),
            intake_shut_seconds: registry.durations(
                "headworks_intake_shut_seconds_total",
                "For how long the gate has been shut for this reason, in all.",
                &["reason"],
            ),
            buffered_bytes: registry.gauge("headworks_buffered_bytes", "Bytes of bodies buffered in the process."),
            buffer_limit_bytes: registry.gauge("headworks_buffer_limit_bytes", "The most bytes of bodies that may be buffered."),
            memory_used_ratio: registry.memory_used(),
            disk_free_ratio: registry.ratio("headworks_disk_free_ratio", "Free space of the storage's disk, 0 to 1; no number where storage is no disk."),
            gate_marks: registry.ratios(
                "headworks_gate_mark_ratio",
                "Where the gate shuts and opens, as the settings say: of memory used, of disk free. At `hold` even uploads in flight wait.",
                &["reason", "mark"],
            ),
            queue_depth: registry.gauges(
                "headworks_queue_depth_jobs",
                "Places taken on the queue. One truth told by many: alert on max, never on sum.",
                &["state", "priority"],
            ),
            queue_capacity: registry.gauge("headworks_queue_capacity_jobs", "Places on the queue."),
            queue_oldest_seconds: registry.ratio("headworks_queue_oldest_job_age_seconds", "How long the oldest job has been on the queue."),
        };
        for protocol in Protocol::ALL {
            for outcome in Outcome::ALL {
                metrics.uploads.with_label_values(&[protocol.as_str(), outcome.as_str()]);
            }
        }
        for reason in Reason::ALL {
            metrics.refusals.with_label_values(&[reason.as_str()]);
        }
        metrics.refusals.with_label_values(&["streams"]);
        metrics.disk_free_ratio.set(f64::NAN);
        metrics.show_gate(&Gate::default(), Duration::ZERO);
        metrics.show_depth(&Depth::default());
        metrics
    }

    pub(crate) fn ended(&self, protocol: Protocol, outcome: Outcome) {
        self.uploads.with_label_values(&[protocol.as_str(), outcome.as_str()]).inc();
    }

    pub(crate) fn show_marks(&self, memory: &Memory, disk: &Disk) {
        let show = |reason: Reason, mark: &str, ratio: f64| {
            self.gate_marks.with_label_values(&[reason.as_str(), mark]).set(ratio);
        };
        show(Reason::Memory, "shut", memory.shut_above.ratio());
        show(Reason::Memory, "open", memory.open_below.ratio());
        show(Reason::Memory, "hold", memory.critical.ratio());
        show(Reason::Disk, "shut", disk.shut_below.ratio());
        show(Reason::Disk, "open", disk.open_above.ratio());
    }

    /// `since` is how long ago it was looked at before.
    pub(crate) fn show_gate(&self, gate: &Gate, since: Duration) {
        self.intake_open.set(i64::from(gate.shut().is_none()));
        for reason in Reason::ALL {
            let (label, shut) = (&[reason.as_str()], gate.is_shut_for(reason));
            self.intake_shut.with_label_values(label).set(i64::from(shut));
            let more = if shut { since } else { Duration::ZERO };
            self.intake_shut_seconds.with_label_values(label).inc_by(more.as_secs_f64());
        }
    }

    pub(crate) fn show_depth(&self, depth: &Depth) {
        let states = [
            ("ready", depth.ready),
            ("in_flight", depth.in_flight),
            ("delayed", depth.delayed),
            ("credited", depth.credited),
        ];
        for (state, counts) in states {
            for priority in Priority::ALL {
                let jobs = i64::try_from(counts[priority.index()]).unwrap_or(i64::MAX);
                self.queue_depth.with_label_values(&[state, priority.as_str()]).set(jobs);
            }
        }
        self.queue_oldest_seconds.set(depth.oldest.unwrap_or_default().as_secs_f64());
    }
}
