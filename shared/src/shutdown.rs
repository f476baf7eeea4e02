//! Tasks have a name, a stop token, and someone who waits for them.
//!
//! Stopping goes in two steps. First `stop`: loops end at their next step, and nobody starts new work. Then the grace: what was
//! begun may end, until the time is up.

use std::{fmt, future::Future, time::Duration};

use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{Instrument as _, debug, debug_span};

/// Told to every task; cancelled once, for all.
pub type Stop = CancellationToken;

/// The tasks of one part of the program.
#[derive(Clone)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: Stop,
}

impl Tasks {
    /// Tasks that end when `stop` says so.
    pub fn new(stop: Stop) -> Self {
        Self { tracker: TaskTracker::new(), stop }
    }

    /// The token that every task here was given.
    pub fn stop(&self) -> &Stop {
        &self.stop
    }

    /// How many tasks run.
    pub fn len(&self) -> usize {
        self.tracker.len()
    }

    /// Whether no task runs.
    pub fn is_empty(&self) -> bool {
        self.tracker.is_empty()
    }

    /// Runs a task under a name; it ends on its own when the token says so.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that spawns")]
    pub fn spawn<F>(&self, name: &'static str, task: impl FnOnce(Stop) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let span = debug_span!("task", task = name);
        tokio::spawn(self.tracker.track_future(task(self.stop.clone()).instrument(span)));
    }

    /// Runs to its end what must not be cut short when its caller goes away, and hands out its result.
    ///
    /// # Errors
    /// When the task panicked; the panic is logged by the runtime's hook.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that spawns")]
    pub async fn finish<F>(&self, task: F) -> Result<F::Output, Broken>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        tokio::spawn(self.tracker.track_future(task.in_current_span())).await.map_err(|_| Broken)
    }

    /// Waits until all tasks have ended, but no longer than `grace`; says whether they have.
    pub async fn drain(&self, grace: Duration) -> bool {
        self.tracker.close();
        let ended = tokio::time::timeout(grace, self.tracker.wait()).await.is_ok();
        debug!(ended, left = self.tracker.len(), "tasks drained");
        ended
    }
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tasks").field("running", &self.tracker.len()).finish_non_exhaustive()
    }
}

/// A task panicked.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("a task broke down")]
pub struct Broken;
