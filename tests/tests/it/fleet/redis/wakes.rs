//! Whoever waits is woken at once, one for each job, and waiting costs next to nothing.
//!
//! A waiter looks by itself once a second. So what is proven here is proven in less: from the moment that all of them wait.

use std::time::Duration;

use anyhow::{Result, ensure};
use futures_util::future::join_all;
use headworks_shared::{
    model::Priority,
    queue::{JobQueue as _, conformance::job, redis::RedisQueue},
};
use headworks_tests::{DEADLINE, servers::redis::Redis, until};
use redis::{InfoDict, Pipeline, aio::MultiplexedConnection, cmd};
use tokio::time::{Instant, timeout};

use super::{LASTING, claim, fill, open};

/// Less than a waiter sleeps by itself.
const AT_ONCE: Duration = Duration::from_millis(600);

async fn until_blocked(raw: &mut MultiplexedConnection, count: u64) -> Result<()> {
    let look = async || {
        let info: InfoDict = cmd("INFO").arg("clients").query_async(raw).await?;
        Ok(info.get::<u64>("blocked_clients"))
    };
    until("waiters to be blocked", DEADLINE, look, |blocked| *blocked == Some(count)).await.map(drop)
}

/// How long `waiters` of one job each took to have all of them, from when `work` was done.
async fn woken(
    queue: &RedisQueue,
    waiters: usize,
    work: impl AsyncFnOnce() -> Result<()>,
) -> Result<Duration> {
    let waits = (0..waiters).map(|_| async {
        let claimed = timeout(DEADLINE, queue.claim(1, 2 * DEADLINE)).await??;
        ensure!(claimed.len() == 1);
        queue.done(&[claimed[0].ticket]).await?;
        Ok(Instant::now())
    });
    let (woken, begun) = tokio::join!(join_all(waits), async {
        work().await?;
        anyhow::Ok(Instant::now())
    });
    let last = woken.into_iter().collect::<Result<Vec<_>>>()?.into_iter().max();
    Ok(last.map_or(Duration::ZERO, |last| last.duration_since(begun.unwrap_or(last))))
}

/// A machine that stood still is no proof; a ring that is missing is missing each time.
async fn at_once(mut take: impl AsyncFnMut() -> Result<Duration>) -> Result<()> {
    let mut took = Vec::new();
    while took.len() < 3 {
        took.push(take().await?);
        if took.iter().any(|time| *time < AT_ONCE) {
            return Ok(());
        }
    }
    anyhow::bail!("woken after {took:?}")
}

#[tokio::test]
async fn a_job_that_is_put_back_wakes_another_process() -> Result<()> {
    let redis = Redis::start_with(&[]).await?;
    let (here, there, mut raw) =
        (open(&redis, LASTING).await?, open(&redis, LASTING).await?, redis.connect().await?);
    for delay in [Duration::ZERO, Duration::from_millis(100)] {
        at_once(async || {
            fill(&here, 0..1).await?;
            let claimed = claim(&here, 1).await?;
            let again = async || {
                until_blocked(&mut raw, 1).await?;
                Ok(here.again(claimed[0].ticket, delay, true).await?)
            };
            woken(&there, 1, again).await
        })
        .await?;
    }
    Ok(())
}

/// As when jobs come between a waiter's look and its listening: then there is one ring for all of them.
#[tokio::test]
async fn who_is_woken_rings_on_for_what_it_leaves() -> Result<()> {
    let redis = Redis::start_with(&[]).await?;
    let (queue, mut raw) = (open(&redis, LASTING).await?, redis.connect().await?);
    at_once(async || {
        let put = async || {
            until_blocked(&mut raw, 4).await?;
            let mut all = Pipeline::new();
            all.atomic();
            for n in 0..4 {
                let job = job(n, Priority::Low);
                let payload = serde_json::to_string(&job.payload)?;
                all.cmd("ZADD").arg("{hw:test}:jobs").arg(1).arg(job.id.to_string()).ignore();
                all.cmd("XADD").arg("{hw:test}:low").arg("*").arg("id").arg(job.id.to_string());
                all.arg(&["tries", "0", "handed", "0", "job", &payload]).ignore();
            }
            all.cmd("LPUSH").arg("{hw:test}:bell").arg(1).ignore();
            Ok(all.query_async::<()>(&mut raw).await?)
        };
        woken(&queue, 4, put).await
    })
    .await
}

/// A waiter that goes away in the middle takes no ring with it that somebody else should have heard.
#[tokio::test]
async fn a_waiter_that_is_cut_off_leaves_the_bell_to_others() -> Result<()> {
    let redis = Redis::start_with(&[]).await?;
    let (queue, mut raw) = (open(&redis, LASTING).await?, redis.connect().await?);
    at_once(async || {
        let first = async {
            tokio::select! {
                claimed = queue.claim(1, DEADLINE) => anyhow::bail!("nothing was there: {claimed:?}"),
                blocked = until_blocked(&mut raw, 1) => blocked,
            }
        };
        first.await?;
        let gone = Instant::now();
        until_blocked(&mut raw, 0).await?;
        Ok(gone.elapsed())
    })
    .await?;
    let push = async || fill(&queue, 0..1).await;
    woken(&queue, 1, push).await.map(drop)
}

#[tokio::test]
async fn who_waits_costs_next_to_nothing() -> Result<()> {
    let redis = Redis::start_with(&[]).await?;
    let mut raw = redis.connect().await?;
    let mut eight = Vec::new();
    for _ in 0..8 {
        eight.push(open(&redis, LASTING).await?);
    }
    cmd("CONFIG").arg("RESETSTAT").query_async::<()>(&mut raw).await?;
    let waits = eight.iter().map(|queue| queue.claim(1, Duration::from_secs(2)));
    for claimed in join_all(waits).await {
        ensure!(claimed?.is_empty());
    }
    let calls = super::calls(&mut raw).await?;
    ensure!((8..=8 * 5).contains(&calls), "8 waiters asked {calls} times in 2 s");
    Ok(())
}
