//! Jobs that the queue did not take when their uploads were acknowledged are offered to it again, for an hour: the sweep finds what this
//! process forgets, but what took long to upload it finds only when it looks at everything.

use std::{sync::Arc, time::Duration};

use headworks_shared::{model::Job, queue::JobQueue, report::Report, resilience::Backoff, shutdown::Tasks};
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep},
};
use tracing::debug;

/// The most jobs that are kept, a few hundred bytes each; more are left to the sweep.
const MOST: usize = 4096;

/// How long one is offered.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Jobs that wait for the queue to come back.
#[derive(Debug)]
pub(crate) struct Deferred {
    places: Arc<Semaphore>,
    tasks: Tasks,
}

impl Deferred {
    /// None yet.
    pub(crate) fn new(tasks: &Tasks) -> Self {
        Self { places: Arc::new(Semaphore::new(MOST)), tasks: tasks.clone() }
    }

    /// Keeps a job, and offers it again and again until the queue takes it, or the stop.
    pub(crate) fn keep(&self, queue: &Arc<dyn JobQueue>, job: Job) {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else { return };
        let queue = Arc::clone(queue);
        self.tasks.spawn("deferred", |stop| async move {
            stop.run_until_cancelled(offer(&*queue, &job)).await;
            drop(place);
        });
    }
}

async fn offer(queue: &dyn JobQueue, job: &Job) {
    let until = Instant::now() + PATIENCE;
    let mut failures = 0;
    while Instant::now() < until {
        failures += 1;
        sleep(Backoff::START.wait(failures)).await;
        match queue.push(job.clone(), None).await {
            Ok(()) => return,
            Err(error) => {
                debug!(upload.id = %job.id, failures, error = %Report(&error), "upload still deferred")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use headworks_shared::{
        model::Priority,
        queue::{Settings, conformance::job, memory::MemoryQueue},
        shutdown::Stop,
    };

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_job_waits_until_the_queue_takes_it() {
        let queue: Arc<dyn JobQueue> = Arc::new(MemoryQueue::new(Settings::with_capacity(1)));
        queue.push(job(1, Priority::High), None).await.unwrap();
        let (late, tasks) = (job(2, Priority::High), Tasks::new(Stop::new()));
        let deferred = Deferred::new(&tasks);
        deferred.keep(&queue, late.clone());
        sleep(Duration::from_secs(60)).await;
        let first = queue.claim(9, Duration::ZERO).await.unwrap();
        assert_eq!(first.len(), 1, "there is room for one");
        queue.done(&[first[0].ticket]).await.unwrap();
        let then = queue.claim(9, Duration::from_secs(10)).await.unwrap();
        assert_eq!(then.iter().map(|claimed| claimed.job.id).collect::<Vec<_>>(), [late.id]);
        tasks.stop().cancel();
        assert!(tasks.drain(Duration::from_secs(1)).await);
        assert_eq!(deferred.places.available_permits(), MOST);
    }
}
