//! Bodies behind heads. Who comes is to be answered at once, also with a no, however many uploads are at work. Each piece of a body is work
//! for a core: it is copied, hashed and written. In the runtime's line who comes would be behind all of those whose bytes are there.
//!
//! So an upload does its work in steps. For its turn to do the next one it waits with nothing in hand, few have it at once, and who has it
//! lets those go first who can be answered meanwhile.

use std::{future::poll_fn, pin::pin, task::Poll};

use tokio::{sync::Semaphore, task::yield_now};

use crate::shutdown::threads;

/// Who may do a step.
#[derive(Debug)]
pub struct Steps(Semaphore);

impl Steps {
    /// One for each of the runtime's threads: with more, who comes would be behind those.
    #[expect(clippy::new_without_default, reason = "it depends on the runtime that it is called in")]
    pub fn new() -> Self {
        Self(Semaphore::new(threads()))
    }

    /// Does work in steps: each goes on until it has to wait for something. To be awaited to its end or dropped: who has a turn and is
    /// polled no further keeps it.
    pub async fn walk<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            // The semaphore is never closed.
            let turn = self.0.acquire().await;
            // Before the runtime goes on with who yields, it goes through its line, and looks who has come.
            yield_now().await;
            let step = poll_fn(|context| Poll::Ready(work.as_mut().poll(context))).await;
            drop(turn);
            match step {
                Poll::Ready(done) => return done,
                Poll::Pending => woken().await,
            }
        }
    }
}

/// Waits until somebody wakes the task.
pub(crate) async fn woken() {
    let mut waited = false;
    poll_fn(|_| if std::mem::replace(&mut waited, true) { Poll::Ready(()) } else { Poll::Pending }).await;
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, Mutex},
        time::Duration,
    };

    use tokio::{
        sync::Notify,
        time::{sleep, timeout},
    };

    use super::*;
    use crate::shutdown::{Stop, Tasks};

    const SOON: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn who_comes_last_is_behind_one_body_at_most() {
        let (steps, tasks, order) = (Arc::new(Steps::new()), Tasks::new(Stop::new()), Arc::default());
        let say = |order: &Arc<Mutex<Vec<_>>>, what| order.lock().unwrap().push(what);
        for _ in 0..100 {
            let (steps, order) = (Arc::clone(&steps), Arc::clone(&order));
            tasks.spawn("body", move |_| async move { steps.walk(async { say(&order, "body") }).await });
        }
        let own = Arc::clone(&order);
        tasks.spawn("head", move |_| async move { say(&own, "head") });
        assert!(tasks.drain(SOON).await);
        let order = order.lock().unwrap();
        let before = order.iter().position(|what| *what == "head");
        assert!(before <= Some(1) && before.is_some() && order.len() == 101, "{before:?} of {}", order.len());
    }

    #[tokio::test]
    async fn who_waits_for_something_else_keeps_nobody_from_a_step() {
        let (steps, tasks) = (Arc::new(Steps::new()), Tasks::new(Stop::new()));
        let something = Arc::new(Notify::new());
        for _ in 0..10 {
            let (steps, something) = (Arc::clone(&steps), Arc::clone(&something));
            tasks.spawn("waits", move |_| async move { steps.walk(something.notified()).await });
        }
        sleep(Duration::from_millis(10)).await;
        timeout(SOON, steps.walk(async {})).await.unwrap();
        assert_eq!(tasks.len(), 10, "they wait");
        something.notify_waiters();
        assert!(tasks.drain(SOON).await);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 3)]
    async fn all_come_to_their_end_and_who_goes_away_gives_its_turn_back() {
        let (steps, tasks) = (Arc::new(Steps::new()), Tasks::new(Stop::new()));
        for number in 0..2_000_u64 {
            let steps = Arc::clone(&steps);
            tasks.spawn("body", move |_| async move {
                let work = steps.walk(async {
                    for _ in 0..5 {
                        sleep(Duration::from_micros(number)).await;
                        yield_now().await;
                    }
                });
                let patience = if number % 2 == 0 { Duration::from_millis(number % 20) } else { SOON };
                assert!(timeout(patience, work).await.is_ok() || number % 2 == 0, "{number} does not end");
            });
        }
        assert!(tasks.drain(SOON).await);
        assert_eq!(steps.0.available_permits(), 3);
    }
}
