//! Credits: asked for, held, spent, lapsed.

use tokio::time::{Instant, sleep};

use super::{Priority, Queue, SHORT};

pub(super) async fn what_is_asked_is_granted_as_far_as_bound_and_share_allow(queue: &Queue) {
    assert_eq!(queue.hold(1, [2, 1, 1]).await, [2, 1, 1]);
    assert_eq!(queue.depth().await.credited, [2, 1, 1]);
    // Low stops at 7 of 10, normal at 9, high at 10, in all.
    assert_eq!(queue.hold(1, [2, 1, 99]).await, [2, 1, 4]);
    assert_eq!(queue.hold(1, [2, 99, 99]).await, [2, 3, 4]);
    assert_eq!(queue.hold(1, [99, 99, 99]).await, [3, 3, 4]);
    assert_eq!(queue.depth().await.total(), 10);
}

pub(super) async fn asking_again_for_as_many_takes_nothing_away(queue: &Queue) {
    assert_eq!(queue.hold(1, [0, 0, 7]).await, [0, 0, 7]);
    assert_eq!(queue.hold(2, [3, 0, 0]).await, [3, 0, 0]);
    // There is no room any more, for anybody; what is held stays held, and is not granted twice.
    assert_eq!(queue.hold(1, [0, 0, 7]).await, [0, 0, 7]);
    assert_eq!(queue.hold(2, [3, 0, 0]).await, [3, 0, 0]);
    assert_eq!(queue.depth().await.credited, [3, 0, 7]);
}

pub(super) async fn fewer_or_none_can_be_asked_for(queue: &Queue) {
    assert_eq!(queue.hold(1, [5, 0, 2]).await, [5, 0, 2]);
    assert_eq!(queue.hold(1, [1, 3, 2]).await, [1, 3, 2]);
    assert_eq!(queue.depth().await.credited, [1, 3, 2]);
    assert_eq!(queue.hold(1, [0; 3]).await, [0; 3]);
    assert_eq!(queue.depth().await.total(), 0);
}

pub(super) async fn a_grant_lapses_unless_it_is_asked_for_again(queue: &Queue) {
    queue.hold(1, [3, 0, 0]).await;
    let asked = Instant::now();
    let grant = queue.grant(2, [2, 0, 0]).await;
    assert!(grant.until <= Instant::now() + SHORT && grant.until >= asked);
    let mut renewals = 0;
    while queue.depth().await.credited != [2, 0, 0] {
        assert!(asked.elapsed() < super::PATIENCE, "{:?}", queue.depth().await);
        assert_eq!(queue.hold(2, [2, 0, 0]).await, [2, 0, 0]);
        renewals += 1;
        sleep(SHORT / 10).await;
    }
    assert!(renewals > 1);
    queue.until("lapsed", |depth| depth.total() == 0).await;
}

pub(super) async fn holders_share_one_bound(queue: &Queue) {
    assert_eq!(queue.hold(1, [6, 0, 0]).await, [6, 0, 0]);
    assert_eq!(queue.hold(2, [6, 0, 0]).await, [4, 0, 0]);
    queue.hold(1, [0; 3]).await;
    assert_eq!(queue.hold(2, [6, 0, 0]).await, [6, 0, 0]);
}

pub(super) async fn a_push_spends_one_credit_of_its_priority(queue: &Queue) {
    assert_eq!(queue.hold(1, [2, 2, 2]).await, [2, 2, 2]);
    assert!(queue.push(1, Priority::Normal, Some(1)).await);
    let depth = queue.depth().await;
    assert_eq!((depth.credited, depth.ready), ([2, 1, 2], [0, 1, 0]));
    // With a credit it gets in also when its share is used up.
    assert_eq!(queue.hold(2, [99, 0, 0]).await, [4, 0, 0]);
    assert!(queue.push(2, Priority::Low, Some(1)).await);
    let depth = queue.depth().await;
    assert_eq!((depth.credited, depth.ready, depth.total()), ([6, 1, 1], [0, 1, 1], 10));
}

pub(super) async fn a_push_without_a_credit_gets_in_while_there_is_room(queue: &Queue) {
    queue.hold(1, [5, 0, 0]).await;
    assert!(queue.push(1, Priority::Low, None).await);
    // The credit of another priority is not the right one.
    assert!(queue.push(2, Priority::Low, Some(1)).await);
    assert_eq!(queue.depth().await.credited, [5, 0, 0]);
    assert!(!queue.push(3, Priority::Low, None).await, "over its share");
    assert!(queue.push(4, Priority::Normal, None).await);
}

pub(super) async fn a_lapsed_credit_is_as_good_as_none(queue: &Queue) {
    assert_eq!(queue.hold(1, [10, 0, 0]).await, [10, 0, 0]);
    queue.until("lapsed", |depth| depth.total() == 0).await;
    queue.fill(1..10, Priority::High).await;
    assert!(queue.push(10, Priority::High, Some(1)).await, "there is room");
    assert!(!queue.push(11, Priority::High, Some(1)).await, "there is no room");
}

pub(super) async fn an_error_spends_no_credit(queue: &Queue) {
    assert_eq!(queue.hold(1, [9, 0, 0]).await, [9, 0, 0]);
    assert!(!queue.push(1, Priority::Normal, Some(1)).await);
    assert_eq!(queue.depth().await.credited, [9, 0, 0]);
}
