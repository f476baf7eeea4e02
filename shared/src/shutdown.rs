//! Tasks have a name, a stop token, and someone who waits for them.
//!
//! Stopping goes in two steps. First `stop`: loops end at their next step, and nobody starts new work. Then the grace: what was
//! begun may end, until the time is up.

use std::{
    fmt,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::runtime::Handle;
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};
use tracing::{Instrument as _, debug, debug_span};

/// Told to every task; cancelled once, for all.
pub type Stop = CancellationToken;

/// How many threads the tasks have that run here; one where there is no runtime.
pub fn threads() -> usize {
    Handle::try_current().map_or(1, |runtime| runtime.metrics().num_workers())
}

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

    /// Runs to its end what must not be cut short when its caller goes away: in its caller's task, which costs nothing, and in a
    /// task of its own from the moment it is dropped half-way.
    pub fn finish<F>(&self, work: F) -> Finish<F>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        Finish { work: Some(Box::pin(work)), _counted: self.tracker.token(), tracker: self.tracker.clone() }
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

/// Work that is finished whether or not it is waited for. Its output is an error when it panicked.
pub struct Finish<F: Future<Output: Send> + Send + 'static> {
    work: Option<Pin<Box<F>>>,
    _counted: TaskTrackerToken,
    tracker: TaskTracker,
}

impl<F: Future<Output: Send> + Send + 'static> Future for Finish<F> {
    type Output = Result<F::Output, Broken>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(work) = &mut self.work else { return Poll::Ready(Err(Broken)) };
        let polled = catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context)));
        if matches!(polled, Ok(Poll::Pending)) {
            return Poll::Pending;
        }
        self.work = None;
        polled.map_or(Poll::Ready(Err(Broken)), |output| output.map(Ok))
    }
}

impl<F: Future<Output: Send> + Send + 'static> Drop for Finish<F> {
    fn drop(&mut self) {
        let Some(work) = self.work.take() else { return };
        // Without a runtime the process is at its end, and so is the work.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(self.tracker.track_future(async { drop(work.await) }));
        }
    }
}

impl<F: Future<Output: Send> + Send + 'static> fmt::Debug for Finish<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Finish").field("ended", &self.work.is_none()).finish_non_exhaustive()
    }
}

/// A task panicked.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("a task broke down")]
pub struct Broken;

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn work_goes_on_when_its_caller_goes_away_and_is_waited_for() {
        let tasks = Tasks::new(Stop::new());
        let (go_on, wait) = oneshot::channel::<()>();
        let (tell, told) = oneshot::channel();
        let mut work = Box::pin(tasks.finish(async move {
            drop(wait.await);
            assert!(tell.send("done").is_ok());
        }));
        assert!(futures_util::poll!(work.as_mut()).is_pending());
        drop(work);
        assert_eq!((tasks.len(), tasks.drain(Duration::from_millis(20)).await), (1, false));
        drop(go_on);
        assert_eq!(told.await, Ok("done"));
        assert!(tasks.drain(Duration::from_secs(10)).await);
    }

    #[tokio::test]
    async fn work_that_panics_is_an_error_to_its_caller_alone() {
        let tasks = Tasks::new(Stop::new());
        assert!(tasks.finish(async { panic!("broken on purpose") }).await.is_err());
        assert!(tasks.is_empty());
    }
}
