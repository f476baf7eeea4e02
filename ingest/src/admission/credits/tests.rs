use headworks_shared::{
    config,
    queue::{Settings, conformance::job, memory::MemoryQueue},
};

use super::{pace::tests::of, *};
use crate::testing::House;

fn state(held: usize, promised: usize) -> State {
    State { held: [0, held, 0], promised: [0, promised, 0], ..State::new() }
}

#[tokio::test]
async fn what_is_promised_is_asked_for_again_and_stock_only_where_it_is_used() {
    let mut state = state(10, 4);
    assert_eq!(state.want(64, 625, Instant::now()), [0, 4, 0]);
    state.used_at[1] = Some(Instant::now());
    assert_eq!(state.want(64, 625, Instant::now()), [0, 68, 0]);
    state.waiting = [7, 1000, 0];
    assert_eq!(state.want(64, 625, Instant::now()), [7, 1068, 0], "enough for all who wait");
    (state.waiting, state.refused) = ([0; 3], [0, 5000, 0]);
    assert_eq!(state.want(64, 625, Instant::now()), [0, 4 + 625, 0], "for some of those who were refused");
}

#[tokio::test]
async fn what_was_spent_meanwhile_is_not_trusted_twice() {
    let mut state = state(10, 4);
    state.spent = [0, 3, 0];
    state.accept(Some(Grant { held: [0, 68, 0], until: Instant::now() }), [0, 1, 0]);
    assert_eq!(state.held, [0, 66, 0]);
}

/// Of a queue for 16, of which those of normal priority may have 14; nobody asks it but the test.
async fn credits() -> Arc<Credits> {
    let house = House::new().await;
    let settings = QueueSettings { capacity: 16, ..config::load(None, []).unwrap().settings.queue };
    let queue = MemoryQueue::new(Settings::with_capacity(settings.capacity));
    let stack = Stack { queue: Arc::new(queue), ..house.stack };
    Arc::new(Credits::new(&stack, &settings))
}

#[tokio::test]
async fn who_comes_right_after_the_queue_said_that_it_is_full_is_refused_at_once() {
    let credits = credits().await;
    tokio::time::pause();
    let mut taken = Vec::new();
    credits.state().used_at[Priority::Normal.index()] = Some(Instant::now());
    while credits.renew().await == Need::None {
        taken.extend(credits.try_take(Priority::Normal));
    }
    while let Some(credit) = credits.try_take(Priority::Normal) {
        taken.push(credit);
    }
    assert_eq!(taken.len(), 14);
    let begun = Instant::now();
    let why = credits.take(Priority::Normal, Duration::ZERO).await.unwrap_err();
    assert_eq!((why, begun.elapsed() < ASK_SOON), (NoCredit::Full, true));
    assert_eq!(credits.state().refused, [0, 1, 0]);
    tokio::time::advance(ASK_AGAIN).await;
    let begun = Instant::now();
    let why = credits.take(Priority::Normal, Duration::ZERO).await.unwrap_err();
    assert_eq!((why, begun.elapsed() >= ANSWER), (NoCredit::Full, true), "it was asked too long ago");
    taken.pop();
    credits.renew().await;
    assert!(credits.take(Priority::Normal, Duration::ZERO).await.is_ok());
}

#[tokio::test]
async fn what_was_asked_for_in_the_place_of_the_refused_goes_back_soon_and_all_at_the_end() {
    let credits = credits().await;
    let held = async || credits.queue.depth().await.unwrap().credited[1];
    credits.state().refused = [0, 5000, 0];
    let need = credits.renew().await;
    assert_eq!((held().await, need, credits.rest(need)), (1, Need::Passing, ASK_AGAIN), "a 16th of 16");
    let need = credits.renew().await;
    assert_eq!((held().await, need, credits.rest(need)), (0, Need::None, credits.renew_every));
    credits.state().refused = [0, 5000, 0];
    let stop = Stop::new();
    stop.cancel();
    credits.run(stop).await;
    assert_eq!(held().await, 0, "who stops asks for nobody");
}

#[tokio::test]
async fn a_full_queue_is_asked_as_fast_as_it_drains_and_one_that_says_nothing_is_not() {
    let credits = credits().await;
    let start = Instant::now();
    let full = |done| {
        Pace::default().next(start, &of(1000, 0), 1).next(start + Duration::from_secs(1), &of(1000, done), 1)
    };
    credits.state().pace = full(0);
    assert_eq!([Need::Pressing, Need::Unheard].map(|need| credits.rest(need)), [ASK_AGAIN; 2]);
    credits.state().pace = full(5000);
    assert_eq!([Need::Pressing, Need::Unheard].map(|need| credits.rest(need)), [ASK_SOON, ASK_AGAIN]);
}

#[tokio::test]
async fn where_nobody_waits_for_a_disk_nobody_waits_for_the_queues_file_either() {
    let house = House::with(&[("HEADWORKS__STORAGE__DURABILITY", "none")]).await;
    let settings = config::load(None, []).unwrap().settings.queue;
    let credits = Arc::new(Credits::new(&house.stack, &settings));
    credits.state().used_at[Priority::Normal.index()] = Some(Instant::now());
    credits.renew().await;
    let credit = credits.take(Priority::Normal, Duration::ZERO).await.unwrap();
    let held = credits.state().held[1];
    let spent = futures_util::FutureExt::now_or_never(credit.spend(job(1, Priority::Normal)));
    assert!(matches!(spent, Some(Ok(()))), "it waits: {spent:?}");
    assert_eq!(credits.queue.depth().await.unwrap().jobs(), 1);
    let state = credits.state();
    assert_eq!((state.held[1], state.promised[1]), (held - 1, 0), "the credit is spent");
}

#[tokio::test]
async fn who_waits_for_a_disk_waits_for_the_queues_file_too() {
    let Stack { queue, node, .. } = House::new().await.stack;
    assert!(!queue.hand_over(&Arc::new(job(1, Priority::Normal)), &node));
}
