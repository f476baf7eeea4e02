//! Connections that wait for their next request.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::line::Line;

/// Idle connections, the one used last at the end.
#[derive(Debug)]
pub(super) struct Idle {
    /// How many are kept.
    most: usize,
    /// How long each is kept.
    lasting: Duration,
    lines: Mutex<VecDeque<(Instant, Line)>>,
}

impl Idle {
    pub(super) fn new(most: usize, lasting: Duration) -> Self {
        Self { most, lasting, lines: Mutex::default() }
    }

    /// The one to `to` that was used last, is not old, and is still open.
    pub(super) fn take(&self, to: &str) -> Option<Line> {
        self.close_old();
        loop {
            let mut line = self.with(|lines| {
                let at = lines.iter().rposition(|(_, line)| line.is_to(to))?;
                lines.remove(at)
            })?;
            if line.1.is_quiet() {
                return Some(line.1);
            }
        }
    }

    /// Keeps one for the next request.
    pub(super) fn keep(&self, line: Line) {
        let kept = (Instant::now(), line);
        let _too_many = self.with(|lines| {
            if lines.len() >= self.most {
                return Some(kept);
            }
            lines.push_back(kept);
            None
        });
    }

    /// Closes those that are old.
    pub(super) fn close_old(&self) {
        let is_old = |(since, _): &mut (Instant, Line)| since.elapsed() >= self.lasting;
        while self.with(|lines| lines.pop_front_if(is_old)).is_some() {}
    }

    /// Connections that go are closed behind the lock.
    fn with<T>(&self, work: impl FnOnce(&mut VecDeque<(Instant, Line)>) -> T) -> T {
        work(&mut self.lines.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
