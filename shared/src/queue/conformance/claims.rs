//! Claims: who is next, how many, and how long one waits.

use std::{sync::Arc, time::Duration};

use tokio::{
    task::JoinSet,
    time::{Instant, timeout},
};

use super::{PATIENCE, Priority, Queue, SHORT, numbers};
use crate::queue::Claimed;

/// How many of each priority.
fn count(claimed: &[Claimed]) -> [usize; 3] {
    Priority::ALL.map(|priority| claimed.iter().filter(|one| one.job.priority == priority).count())
}

async fn fill_all_lines(queue: &Queue) {
    queue.fill(0..30, Priority::Low).await;
    queue.fill(30..60, Priority::Normal).await;
    queue.fill(60..90, Priority::High).await;
}

pub(super) async fn the_order_is_eight_three_one(queue: &Queue) {
    fill_all_lines(queue).await;
    assert_eq!(count(&queue.claim(12, Duration::ZERO).await), [8, 3, 1]);
    assert_eq!(count(&queue.claim(24, Duration::ZERO).await), [16, 6, 2]);
}

pub(super) async fn small_claims_are_as_fair_as_large_ones(queue: &Queue) {
    fill_all_lines(queue).await;
    let mut claimed = Vec::new();
    for max in [1, 1, 2, 3, 1, 4].into_iter().cycle().take(12) {
        claimed.extend(queue.claim(max, Duration::ZERO).await);
    }
    assert_eq!((claimed.len(), count(&claimed)), (24, [16, 6, 2]));
}

pub(super) async fn empty_lines_give_their_turns_away(queue: &Queue) {
    queue.fill(0..20, Priority::Low).await;
    queue.fill(20..21, Priority::Normal).await;
    assert_eq!(count(&queue.claim(12, Duration::ZERO).await), [0, 1, 11]);
    assert_eq!(count(&queue.claim(99, Duration::ZERO).await), [0, 0, 9]);
}

pub(super) async fn the_oldest_of_a_line_comes_first(queue: &Queue) {
    // Not in the order of their ids.
    for n in [5, 3, 9, 1] {
        assert!(queue.push(n, Priority::Normal, None).await);
    }
    assert_eq!(numbers(&queue.claim(3, Duration::ZERO).await), [5, 3, 9]);
    assert_eq!(numbers(&queue.claim(3, Duration::ZERO).await), [1]);
}

pub(super) async fn no_more_than_asked_for_are_taken(queue: &Queue) {
    queue.fill(0..5, Priority::High).await;
    assert_eq!(queue.claim(0, Duration::ZERO).await, []);
    assert_eq!(queue.claim(2, Duration::ZERO).await.len(), 2);
    assert_eq!(queue.depth().await.ready, [3, 0, 0]);
}

pub(super) async fn an_empty_answer_comes_when_the_wait_is_over(queue: &Queue) {
    let asked = Instant::now();
    assert_eq!(queue.claim(1, SHORT).await, []);
    assert!(asked.elapsed() >= SHORT);
    assert_eq!(timeout(PATIENCE, queue.claim(1, Duration::ZERO)).await.expect("at once"), []);
}

pub(super) async fn a_push_wakes_who_waits(queue: &Queue) {
    let waiting = queue.claim(1, 2 * PATIENCE);
    let push = async {
        // The claim waits by now, or will find the job: it must be woken in both cases.
        queue.until("empty", |depth| depth.jobs() == 0).await;
        assert!(queue.push(4, Priority::Low, None).await);
    };
    let (claimed, ()) =
        timeout(PATIENCE, async { tokio::join!(waiting, push) }).await.expect("woken in time");
    assert_eq!(numbers(&claimed), [4]);
}

pub(super) async fn each_of_many_who_wait_gets_a_job(queue: &Queue) {
    let mut waiting = JoinSet::new();
    for _ in 0..8 {
        let queue = Arc::clone(&queue.0);
        waiting.spawn(async move { queue.claim(1, 2 * PATIENCE).await.expect("claim") });
    }
    queue.fill(0..8, Priority::High).await;
    let mut all = timeout(PATIENCE, waiting.join_all()).await.expect("all are woken").concat();
    all.sort_by_key(|one| one.job.id);
    assert_eq!(numbers(&all), [0, 1, 2, 3, 4, 5, 6, 7]);
}

pub(super) async fn a_delayed_job_wakes_who_waits(queue: &Queue) {
    queue.fill(0..1, Priority::High).await;
    let first = queue.claim_one().await;
    let waiting = async { (queue.claim(1, 2 * PATIENCE).await, Instant::now()) };
    let put_back = async {
        queue.until("in flight", |depth| depth.in_flight == [1, 0, 0]).await;
        let at = Instant::now();
        queue.again(first.ticket, SHORT, true).await;
        at
    };
    let both = timeout(PATIENCE, async { tokio::join!(waiting, put_back) }).await;
    let ((claimed, woken), put_back) = both.expect("woken in time");
    assert_eq!(numbers(&claimed), [0]);
    assert!(woken.duration_since(put_back) >= SHORT);
}

pub(super) async fn a_lapsed_lease_wakes_who_waits(queue: &Queue) {
    queue.fill(0..1, Priority::High).await;
    let first = queue.claim_one().await;
    let second = timeout(PATIENCE, queue.claim(1, 2 * PATIENCE)).await.expect("woken in time");
    assert_eq!((second[0].job.id, second[0].deliveries), (first.job.id, 2));
    assert_ne!(second[0].ticket, first.ticket);
}
