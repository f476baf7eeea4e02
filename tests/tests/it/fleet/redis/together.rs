//! Jobs that are pushed together: one call, and each is judged as if it had come by itself.

use std::time::Duration;

use anyhow::{Result, ensure};
use futures_util::{FutureExt as _, future::join_all};
use headworks_shared::{
    model::Priority,
    queue::{
        Error, JobQueue as _, Settings,
        conformance::{holder, job},
        redis::{Options, RedisQueue},
    },
    resilience::{Guard, Rule},
};
use headworks_tests::servers::redis::Redis;
use redis::cmd;
use tokio::time::{Instant, sleep};

use super::{LASTING, claim, open, options};

const TEN: Settings = Settings { capacity: 10, ..LASTING };

/// Pushes all at once, in this order; says which got in.
async fn push(queue: &RedisQueue, numbers: impl IntoIterator<Item = u64>, who: u8) -> Result<Vec<bool>> {
    let holder = holder(who);
    let pushes = numbers.into_iter().map(|n| queue.push(job(n, Priority::High), Some(&holder)));
    let judged = join_all(pushes).await.into_iter().map(|pushed| match pushed {
        Ok(()) => Ok(true),
        Err(Error::Full) => Ok(false),
        Err(error) => Err(error.into()),
    });
    judged.collect()
}

#[tokio::test]
async fn many_at_once_are_few_calls() -> Result<()> {
    let redis = Redis::start_with(&[]).await?;
    let (queue, mut raw) = (open(&redis, LASTING).await?, redis.connect().await?);
    cmd("CONFIG").arg("RESETSTAT").query_async::<()>(&mut raw).await?;
    ensure!(push(&queue, 0..90, 1).await? == [true; 90]);
    // One alone, 64, and the others; the script is loaded once.
    let calls = super::calls(&mut raw).await?;
    ensure!((3..=4).contains(&calls), "{calls} calls");
    let claimed = claim(&queue, 99).await?;
    let order: Vec<_> = claimed.iter().map(|one| one.job.id).collect();
    ensure!(order == (0..90).map(|n| job(n, Priority::High).id).collect::<Vec<_>>(), "not in their order");
    Ok(())
}

#[tokio::test]
async fn those_without_a_credit_get_in_as_far_as_there_is_room() -> Result<()> {
    let redis = Redis::start_with(&[]).await?;
    let queue = open(&redis, TEN).await?;
    // Four of its own, and two that are somebody else's.
    queue.hold_credits(&holder(1), [4, 0, 0]).await?;
    queue.hold_credits(&holder(2), [2, 0, 0]).await?;
    let got_in = push(&queue, 0..12, 1).await?;
    ensure!(got_in == (0..12).map(|n| n < 8).collect::<Vec<_>>(), "{got_in:?}");
    let depth = queue.depth().await?;
    ensure!((depth.ready, depth.credited) == ([8, 0, 0], [2, 0, 0]), "{depth:?}");
    // Those that are on the queue are, however full it is.
    let got_in = push(&queue, 6..10, 1).await?;
    ensure!(got_in == [true, true, false, false], "{got_in:?}");
    ensure!(push(&queue, 20..23, 2).await? == [true, true, false]);
    ensure!(queue.depth().await?.ready == [10, 0, 0]);
    Ok(())
}

#[tokio::test]
async fn a_credit_that_is_spent_for_nothing_leaves_its_room_to_others() -> Result<()> {
    let redis = Redis::start_with(&[]).await?;
    let queue = open(&redis, TEN).await?;
    ensure!(push(&queue, 0..6, 1).await? == [true; 6]);
    queue.hold_credits(&holder(1), [3, 0, 0]).await?;
    // The first goes alone with a credit; of the others two have one, for a job that is there, and room is left for three.
    let got_in = push(&queue, [6, 0, 0, 7, 8, 9, 10], 1).await?;
    ensure!(got_in == [true, true, true, true, true, true, false], "{got_in:?}");
    let depth = queue.depth().await?;
    ensure!((depth.ready, depth.credited) == ([10, 0, 0], [0; 3]), "{depth:?}");
    Ok(())
}

#[tokio::test]
async fn each_is_pushed_for_its_own_holder() -> Result<()> {
    let redis = Redis::start_with(&[]).await?;
    let queue = open(&redis, LASTING).await?;
    queue.hold_credits(&holder(1), [6, 0, 0]).await?;
    queue.hold_credits(&holder(2), [3, 0, 0]).await?;
    let whose = [Some(holder(1)), None, Some(holder(2))];
    let pushes = (0..12).zip(whose.iter().cycle());
    let pushed = pushes.map(|(n, who)| queue.push(job(n, Priority::High), who.as_ref()));
    for pushed in join_all(pushed).await {
        pushed?;
    }
    // Each of them has pushed four: the second one too, when it had no credit any more.
    let depth = queue.depth().await?;
    ensure!((depth.ready, depth.credited) == ([12, 0, 0], [2, 0, 0]), "{depth:?}");
    Ok(())
}

/// A call belongs to all of its group, and is not made again for those that are left.
#[tokio::test]
async fn who_goes_away_in_the_middle_costs_the_others_nothing() -> Result<()> {
    const WHILE: Duration = Duration::from_millis(100);
    let redis = Redis::start_with(&[]).await?;
    let (queue, by) = (open(&redis, LASTING).await?, holder(1));
    queue.hold_credits(&by, [10, 0, 0]).await?;
    redis.hang()?;
    let mut pushes: Vec<_> =
        (0..4).map(|n| queue.push(job(n, Priority::High), Some(&by))).map(Box::pin).collect();
    ensure!(pushes.iter_mut().all(|push| push.as_mut().now_or_never().is_none()));
    // The first is alone in its call, the second makes one for those that are left; both go when they have asked.
    for _ in 0..2 {
        sleep(WHILE).await;
        drop(pushes.remove(0));
        ensure!(pushes[0].as_mut().now_or_never().is_none());
    }
    sleep(WHILE).await;
    redis.go_on()?;
    for pushed in join_all(pushes).await {
        pushed?;
    }
    // Whether the first was asked for before it went is not known: each job that is there has cost one credit.
    let depth = queue.depth().await?;
    ensure!(depth.ready[0] >= 3 && depth.ready[0] + depth.credited[0] == 10, "{depth:?}");
    Ok(())
}

#[tokio::test]
async fn each_that_has_no_answer_counts_so_that_the_breaker_opens() -> Result<()> {
    const LONGEST: Duration = Duration::from_secs(1);
    let redis = Redis::start_with(&[]).await?;
    let guard = Guard::silent("queue", Rule::QUEUE);
    let guarded = Options { guard, command_timeout: LONGEST, ..options("test") };
    let queue = RedisQueue::open(&redis.url(), guarded, LASTING).await?;
    ensure!(push(&queue, 0..1, 1).await? == [true]);
    redis.hang()?;
    let asked = Instant::now();
    let all = join_all((0..200).map(|n| queue.push(job(n, Priority::High), None))).await;
    ensure!(all.iter().all(|pushed| matches!(pushed, Err(Error::Unavailable(_)))));
    ensure!(asked.elapsed() < 2 * LONGEST, "{:?}", asked.elapsed());
    let asked = Instant::now();
    ensure!(push(&queue, 300..301, 1).await.is_err());
    ensure!(asked.elapsed() < LONGEST / 2, "it was asked although it does not answer");
    Ok(())
}
