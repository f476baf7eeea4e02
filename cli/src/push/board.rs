//! What became of the files, and what people are told of it: while it runs on standard error, at the end on standard output.

use std::{
    io::{self, IsTerminal as _, Write as _},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use headworks_shared::model::{Receipt, Status};
use tokio::time::Instant;

use super::{
    bars::Bars,
    meter::Meter,
    summary::{LISTED, Summary},
    words::{bytes, count, rate, shown},
};

/// How many of those that are passed over have a line of their own, unless `--verbose` asks for all.
const PASSED_OVER: u64 = 20;

/// Counts of files, but for the bytes.
#[derive(Debug, Default)]
struct Counts {
    found: AtomicU64,
    stored: AtomicU64,
    deferred: AtomicU64,
    before: AtomicU64,
    failed: AtomicU64,
    /// Found, and stored or failed since.
    ended: AtomicU64,
    passed_over: AtomicU64,
    bytes: AtomicU64,
    refusals: AtomicU64,
    faults: AtomicU64,
}

/// Everything that is to be told.
#[derive(Debug)]
pub(super) struct Board {
    counts: Counts,
    failures: Mutex<Vec<String>>,
    bars: Option<Bars>,
    verbose: bool,
    begin: Instant,
}

impl Board {
    /// With bars where standard error is a terminal, else with plain lines.
    pub(super) fn new(verbose: bool) -> Self {
        Self {
            counts: Counts::default(),
            failures: Mutex::default(),
            bars: io::stderr().is_terminal().then(Bars::new),
            verbose,
            begin: Instant::now(),
        }
    }

    /// A file is to be sent.
    pub(super) fn found(&self, size: u64) {
        add(&self.counts.found);
        if let Some(bars) = &self.bars {
            bars.more(size);
        }
        self.redraw();
    }

    /// A file was acknowledged by an earlier run.
    pub(super) fn before(&self) {
        add(&self.counts.before);
    }

    /// Something is neither a file nor a folder.
    pub(super) fn passed_over(&self, name: &str, why: &str) {
        if add(&self.counts.passed_over) < PASSED_OVER || self.verbose {
            self.say(&format!("passed over: {}: {why}", shown(name)));
        }
    }

    /// A file is on its way.
    pub(super) fn begin(&self, name: &str, size: u64) -> Arc<Meter> {
        Meter::new(self.bars.as_ref().map(|bars| bars.begin(name, size)))
    }

    /// The server said "not now".
    pub(super) fn refused(&self) {
        add(&self.counts.refusals);
    }

    /// A try came to nothing, and is made again.
    pub(super) fn faulted(&self, name: &str, why: &str) {
        add(&self.counts.faults);
        if self.verbose {
            self.say(&format!("again: {}: {}", shown(name), shown(why)));
        }
    }

    /// A file is acknowledged.
    pub(super) fn stored(&self, receipt: &Receipt) {
        add(&self.counts.stored);
        add(&self.counts.ended);
        self.counts.bytes.fetch_add(receipt.size, Relaxed);
        if receipt.status == Status::Deferred {
            add(&self.counts.deferred);
        }
        if self.verbose {
            self.say(&format!("stored: {} {}", receipt.path, receipt.id));
        }
        self.redraw();
    }

    /// A file that was found will not be sent any more.
    pub(super) fn given_up(&self, name: &str, why: &str) {
        add(&self.counts.ended);
        self.failed(name, why);
    }

    /// Something went wrong that is not to be tried again.
    pub(super) fn failed(&self, name: &str, why: &str) {
        add(&self.counts.failed);
        let line = format!("{}: {}", shown(name), shown(why));
        self.say(&format!("failed: {line}"));
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() < LISTED {
            failures.push(line);
        }
    }

    /// A line for whoever watches.
    pub(super) fn say(&self, line: &str) {
        match &self.bars {
            Some(bars) => bars.say(line),
            // Nobody reads what cannot be printed.
            None => drop(writeln!(io::stderr().lock(), "{line}")),
        }
    }

    /// The totals, for who has no bars; with `--verbose` there is a line for each file instead.
    pub(super) fn tell_totals(&self) {
        if self.bars.is_some() || self.verbose {
            return;
        }
        let Counts { found, stored, failed, bytes: sent, refusals, .. } = &self.counts;
        let (stored, found, sent) = (get(stored), get(found), get(sent));
        let rate = rate(sent, self.begin.elapsed());
        self.say(&format!(
            "{stored} of {found} files, {}, {rate}, {} failed, {}",
            bytes(sent),
            get(failed),
            count(get(refusals), "refusal", "refusals")
        ));
    }

    fn redraw(&self) {
        if let Some(bars) = &self.bars {
            bars.files(get(&self.counts.stored), get(&self.counts.found));
        }
    }

    /// Takes the bars away, and hands out what is to be told at the end.
    pub(super) fn summary(&self, interrupted: bool) -> Summary {
        if let Some(bars) = &self.bars {
            bars.end();
        }
        let Counts { found, stored, deferred, before, failed, ended, passed_over, .. } = &self.counts;
        let Counts { bytes, refusals, faults, .. } = &self.counts;
        Summary {
            interrupted,
            stored: get(stored),
            deferred: get(deferred),
            before: get(before),
            failed: get(failed),
            left: get(found).saturating_sub(get(ended)),
            passed_over: get(passed_over),
            bytes: get(bytes),
            refusals: get(refusals),
            faults: get(faults),
            took: self.begin.elapsed(),
            failures: self.failures.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

/// Adds one; what it was before.
fn add(counter: &AtomicU64) -> u64 {
    counter.fetch_add(1, Relaxed)
}

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Relaxed)
}
