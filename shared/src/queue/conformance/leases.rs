//! Leases: answered, kept alive, lapsed, given back.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{LONG, Priority, Queue, SHORT, numbers};

pub(super) async fn a_lapsed_lease_is_delivered_again_with_one_more_delivery(queue: &Queue) {
    queue.fill(0..1, Priority::Low).await;
    for deliveries in 1..=3 {
        let claimed = queue.claim_one().await;
        assert_eq!((claimed.deliveries, claimed.job.tries), (deliveries, 0));
        queue.until("lapsed", |depth| depth.ready == [0, 0, 1]).await;
    }
}

pub(super) async fn a_heartbeat_keeps_the_lease(queue: &Queue) {
    queue.fill(0..2, Priority::High).await;
    let (kept, dropped) = (queue.claim_one().await, queue.claim_one().await);
    let begun = Instant::now();
    while begun.elapsed() < 8 * SHORT {
        queue.extend(kept.ticket).await;
        for other in queue.claim(2, Duration::ZERO).await {
            assert_eq!(other.job.id, dropped.job.id, "the lease of the other is kept");
            queue.done(other.ticket).await;
        }
        sleep(SHORT / 10).await;
    }
    assert_eq!(queue.depth().await.in_flight, [1, 0, 0]);
    queue.done(kept.ticket).await;
    assert_eq!(queue.depth().await.jobs(), 0);
}

pub(super) async fn late_answers_change_nothing(queue: &Queue) {
    queue.fill(0..1, Priority::High).await;
    let late = queue.claim_one().await.ticket;
    queue.until("lapsed", |depth| depth.ready == [1, 0, 0]).await;
    answer_in_all_ways(queue, late).await;
    let depth = queue.depth().await;
    assert_eq!((depth.ready, depth.in_flight, depth.delayed), ([1, 0, 0], [0; 3], [0; 3]));
    let claimed = queue.claim_one().await;
    assert_eq!((claimed.deliveries, claimed.job.tries), (2, 0));
}

pub(super) async fn an_answer_to_an_earlier_claim_changes_nothing(queue: &Queue) {
    queue.fill(0..1, Priority::High).await;
    let earlier = queue.claim_one().await.ticket;
    queue.again(earlier, Duration::ZERO, false).await;
    let now = queue.claim_one().await.ticket;
    answer_in_all_ways(queue, earlier).await;
    assert_eq!(queue.depth().await.in_flight, [1, 0, 0], "somebody else has it");
    queue.done(now).await;
    assert_eq!(queue.depth().await.jobs(), 0);
}

async fn answer_in_all_ways(queue: &Queue, ticket: super::Ticket) {
    queue.extend(ticket).await;
    queue.again(ticket, LONG, true).await;
    queue.again(ticket, Duration::ZERO, false).await;
    queue.done(ticket).await;
}

pub(super) async fn done_jobs_leave_the_queue(queue: &Queue) {
    queue.fill(0..3, Priority::Normal).await;
    let claimed = queue.claim(3, Duration::ZERO).await;
    let tickets: Vec<_> = claimed.iter().map(|one| one.ticket).collect();
    queue.0.done(&tickets[..2]).await.expect("done");
    let depth = queue.depth().await;
    assert_eq!((depth.jobs(), depth.in_flight, depth.done), (1, [0, 1, 0], 2));
    // A second answer is as good as none.
    queue.0.done(&tickets).await.expect("done");
    let depth = queue.depth().await;
    assert_eq!((depth.jobs(), depth.done), (0, 3));
}

pub(super) async fn a_job_put_back_waits_for_its_delay(queue: &Queue) {
    queue.fill(0..1, Priority::Normal).await;
    let first = queue.claim_one().await;
    let at = Instant::now();
    queue.again(first.ticket, SHORT, true).await;
    let depth = queue.depth().await;
    if at.elapsed() < SHORT {
        assert_eq!((depth.delayed, depth.ready), ([0, 1, 0], [0; 3]));
    }
    queue.until("due", |depth| depth.ready == [0, 1, 0]).await;
    assert!(at.elapsed() >= SHORT);
    let second = queue.claim_one().await;
    assert_eq!((second.job.tries, second.deliveries), (1, 1));
    assert_eq!(second.job.payload, first.job.payload);
}

pub(super) async fn a_job_put_back_stands_at_the_end_of_its_line(queue: &Queue) {
    queue.fill(0..3, Priority::High).await;
    let first = queue.claim_one().await;
    queue.again(first.ticket, Duration::ZERO, true).await;
    assert_eq!(numbers(&queue.claim(3, Duration::ZERO).await), [1, 2, 0]);
}

pub(super) async fn a_job_given_back_unstarted_has_no_more_tries(queue: &Queue) {
    queue.fill(0..1, Priority::High).await;
    for _ in 0..3 {
        let claimed = queue.claim_one().await;
        assert_eq!((claimed.job.tries, claimed.deliveries), (0, 1));
        queue.again(claimed.ticket, Duration::ZERO, false).await;
    }
}

pub(super) async fn depth_tells_every_state_and_the_oldest(queue: &Queue) {
    assert!(queue.depth().await.is_empty());
    let begun = Instant::now();
    queue.fill(0..4, Priority::High).await;
    sleep(SHORT).await;
    queue.fill(4..6, Priority::Low).await;
    let claimed = queue.claim(4, Duration::ZERO).await;
    queue.again(claimed[3].ticket, LONG, true).await;
    assert_eq!(queue.hold(1, [1, 2, 3]).await, [1, 2, 3]);
    let depth = queue.depth().await;
    assert_eq!((depth.ready, depth.in_flight), ([0, 0, 2], [3, 0, 0]));
    assert_eq!((depth.delayed, depth.credited), ([1, 0, 0], [1, 2, 3]));
    assert_eq!((depth.jobs(), depth.total()), (6, 12));
    let oldest = depth.oldest.expect("there are jobs");
    assert!(oldest >= SHORT && oldest <= begun.elapsed(), "{oldest:?}");
    let high: Vec<_> = claimed[..3].iter().map(|one| one.ticket).collect();
    queue.0.done(&high).await.expect("done");
    assert!(queue.depth().await.oldest.expect("the delayed one is the oldest") >= SHORT);
}

pub(super) async fn what_is_not_lost_keeps_its_name(queue: &Queue) {
    let name = queue.0.incarnation().await.expect("incarnation");
    assert!(!name.is_empty());
    queue.fill(0..3, Priority::High).await;
    let claimed = queue.claim(2, Duration::ZERO).await;
    queue.again(claimed[0].ticket, LONG, true).await;
    queue.done(claimed[1].ticket).await;
    assert_eq!(queue.0.incarnation().await.expect("incarnation"), name);
}
