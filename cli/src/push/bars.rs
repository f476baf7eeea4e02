//! Progress for a terminal: one bar for all, and one for each of the first few files under way.

use std::sync::{Arc, Mutex, PoisonError};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::words::shown;

/// How many files have a bar of their own at a time; the others count in the total alone.
const BARS: usize = 8;

/// The longest name on a bar, in characters; of a longer one the end is shown.
const NAME: usize = 40;

/// All bars.
#[derive(Debug)]
pub(super) struct Bars {
    all: MultiProgress,
    total: ProgressBar,
    free: Arc<Mutex<usize>>,
}

impl Bars {
    /// On standard error.
    pub(super) fn new() -> Self {
        let all = MultiProgress::new();
        let total = all.add(ProgressBar::new(0));
        total.set_style(style(
            "{wide_bar} {bytes}/{total_bytes} {binary_bytes_per_sec} {msg} {elapsed_precise}",
        ));
        Self { all, total, free: Arc::new(Mutex::new(BARS)) }
    }

    /// There is so much more to do.
    pub(super) fn more(&self, bytes: u64) {
        self.total.inc_length(bytes);
    }

    /// So much was done before.
    pub(super) fn files(&self, stored: u64, found: u64) {
        self.total.set_message(format!("{stored}/{found} files"));
    }

    /// A file is begun: on a bar of its own where there is room.
    pub(super) fn begin(&self, name: &str, size: u64) -> Arc<Bar> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let own = (*free > 0).then(|| {
            *free -= 1;
            let bar = self.all.insert_before(&self.total, ProgressBar::new(size));
            bar.set_style(style("{msg:40!} {wide_bar} {bytes:>10}/{total_bytes:10}"));
            bar.set_message(tail(&shown(name)));
            bar
        });
        Arc::new(Bar { own, total: self.total.clone(), free: Arc::clone(&self.free) })
    }

    /// A line above the bars.
    pub(super) fn say(&self, line: &str) {
        // Nobody reads what cannot be printed.
        drop(self.all.println(line));
    }

    /// Takes them away.
    pub(super) fn end(&self) {
        drop(self.all.clear());
    }
}

/// The progress of one file.
#[derive(Debug)]
pub(super) struct Bar {
    own: Option<ProgressBar>,
    total: ProgressBar,
    free: Arc<Mutex<usize>>,
}

impl Bar {
    /// So many bytes are done.
    pub(super) fn forward(&self, bytes: u64) {
        self.total.inc(bytes);
        if let Some(own) = &self.own {
            own.inc(bytes);
        }
    }

    /// So many are to be done again.
    pub(super) fn back(&self, bytes: u64) {
        self.total.dec(bytes);
        if let Some(own) = &self.own {
            own.dec(bytes);
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(own) = &self.own {
            own.finish_and_clear();
            *self.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn tail(name: &str) -> String {
    let skip = name.chars().count().saturating_sub(NAME);
    name.chars().skip(skip).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_is_understood() {
        let bars = Bars::new();
        bars.more(7);
        let begun: Vec<_> = (0..BARS + 2).map(|_| bars.begin("a", 7)).collect();
        assert_eq!(begun.iter().filter(|bar| bar.own.is_some()).count(), BARS);
        begun[0].forward(7);
        begun[0].back(3);
        assert_eq!(bars.total.position(), 4);
        drop(begun);
        assert!(bars.begin("b", 1).own.is_some(), "the places are free again");
    }
}
