//! Jobs that are pushed together: one call, and each is judged as if it had come by itself.

use anyhow::{Result, ensure};
use futures_util::future::join_all;
use headworks_shared::{
    model::Priority,
    queue::{
        Error, JobQueue as _, Settings,
        conformance::{holder, job},
        redis::RedisQueue,
    },
};
use headworks_tests::servers::redis::Redis;
use redis::cmd;

use super::{LASTING, claim, open};

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
