//! The bound: ready, in flight, delayed and credits together, exactly.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::task::{JoinSet, yield_now};

use super::{LONG, PATIENCE, Priority, Queue, holder, job, number};
use crate::queue::{Error, JobQueue};

pub(super) async fn each_priority_may_fill_its_share(queue: &Queue) {
    queue.fill(0..7, Priority::Low).await;
    assert!(!queue.push(90, Priority::Low, None).await);
    queue.fill(7..9, Priority::Normal).await;
    assert!(!queue.push(91, Priority::Normal, None).await);
    queue.fill(9..10, Priority::High).await;
    assert!(!queue.push(92, Priority::High, None).await);
    assert_eq!(queue.depth().await.ready, [1, 2, 7]);
}

pub(super) async fn jobs_count_in_whatever_state(queue: &Queue) {
    queue.fill(0..3, Priority::High).await;
    let claimed = queue.claim(2, Duration::ZERO).await;
    queue.again(claimed[0].ticket, LONG, true).await;
    let depth = queue.depth().await;
    assert_eq!((depth.ready, depth.in_flight, depth.delayed), ([1, 0, 0], [1, 0, 0], [1, 0, 0]));
    assert!(!queue.push(3, Priority::High, None).await);
    assert_eq!(queue.hold(1, [1, 0, 0]).await, [0; 3]);
    queue.done(claimed[1].ticket).await;
    assert_eq!(queue.hold(1, [9, 0, 0]).await, [1, 0, 0]);
    assert!(!queue.push(3, Priority::High, None).await);
    assert!(queue.push(3, Priority::High, Some(1)).await);
}

pub(super) async fn a_known_job_changes_nothing_and_spends_the_credit(queue: &Queue) {
    queue.fill(0..3, Priority::High).await;
    let claimed = queue.claim(2, Duration::ZERO).await;
    queue.again(claimed[0].ticket, LONG, true).await;
    let before = queue.depth().await;
    assert_eq!(queue.hold(1, [3, 0, 0]).await, [3, 0, 0]);
    for n in 0..3 {
        assert!(queue.push(n, Priority::High, Some(1)).await, "in whatever state it is");
        assert!(queue.push(n, Priority::High, None).await);
    }
    let after = queue.depth().await;
    assert_eq!(
        (after.ready, after.in_flight, after.delayed),
        (before.ready, before.in_flight, before.delayed)
    );
    assert_eq!(after.credited, [0; 3]);
    assert_eq!(queue.hold(1, [99, 0, 0]).await, [7, 0, 0]);
    assert!(queue.push(0, Priority::High, None).await, "a known job needs no room");
    queue.done(claimed[1].ticket).await;
    assert!(queue.push(1, Priority::High, Some(1)).await);
    assert_eq!(queue.depth().await.ready, [2, 0, 0], "a job that is done is not known any more");
}

const PRODUCERS: u8 = 4;
const JOBS_EACH: u64 = 60;

/// Producers with and without credits, workers, and one who looks all the time.
pub(super) async fn the_bound_is_exact_under_concurrency(queue: &Queue) {
    let left = Arc::new(AtomicUsize::new(usize::from(PRODUCERS) * 60));
    let mut tasks = JoinSet::new();
    for who in 0..PRODUCERS {
        tasks.spawn(produce(Arc::clone(&queue.0), who));
    }
    let mut workers = JoinSet::new();
    for _ in 0..2 {
        workers.spawn(work(Arc::clone(&queue.0), Arc::clone(&left)));
    }
    let watch = async {
        while left.load(Ordering::Relaxed) > 0 {
            let depth = queue.depth().await;
            assert!(depth.total() <= 30, "over the bound: {depth:?}");
            yield_now().await;
        }
    };
    tokio::time::timeout(3 * PATIENCE, watch).await.expect("all jobs are done in time");
    while let Some(produced) = tasks.join_next().await {
        produced.expect("a producer ends well");
    }
    let mut seen = HashSet::new();
    while let Some(worked) = workers.join_next().await {
        for n in worked.expect("a worker ends well") {
            assert!(seen.insert(n), "job {n} was handed out twice");
        }
    }
    assert_eq!(seen.len(), usize::from(PRODUCERS) * 60);
    assert_eq!(queue.depth().await.jobs(), 0);
}

/// Pushes its jobs: every second one only with a credit, which must never be refused; or hands that over, where the queue takes it.
async fn produce(queue: Arc<dyn JobQueue>, who: u8) {
    let mut held = [0; 3];
    for n in 0..JOBS_EACH {
        let priority = Priority::ALL[usize::try_from(n % 3).unwrap_or(0)];
        let job = job(u64::from(who) * JOBS_EACH + n, priority);
        let with_credit = n % 2 == 0;
        while with_credit && held[priority.index()] == 0 {
            held = queue.hold_credits(&holder(who), [2; 3]).await.expect("hold credits").held;
            yield_now().await;
        }
        let by = with_credit.then(|| holder(who));
        if let Some(by) = &by
            && queue.hand_over(&Arc::new(job.clone()), by)
        {
            held[priority.index()] -= 1;
            continue;
        }
        while let Err(error) = queue.push(job.clone(), by.as_ref()).await {
            assert!(matches!(error, Error::Full) && !with_credit, "job {n} of {who}: {error:?}");
            // What it holds and cannot use now must not keep the others out.
            held = queue.hold_credits(&holder(who), [0; 3]).await.expect("give credits back").held;
            yield_now().await;
        }
        if with_credit {
            held[priority.index()] -= 1;
        }
    }
    queue.hold_credits(&holder(who), [0; 3]).await.expect("give credits back");
}

async fn work(queue: Arc<dyn JobQueue>, left: Arc<AtomicUsize>) -> Vec<u64> {
    let mut seen = Vec::new();
    while left.load(Ordering::Relaxed) > 0 {
        let claimed = queue.claim(5, Duration::from_millis(20)).await.expect("claim");
        let tickets: Vec<_> = claimed.iter().map(|one| one.ticket).collect();
        queue.done(&tickets).await.expect("done");
        seen.extend(claimed.iter().map(|one| number(one.job.id)));
        left.fetch_sub(claimed.len(), Ordering::Relaxed);
    }
    seen
}
