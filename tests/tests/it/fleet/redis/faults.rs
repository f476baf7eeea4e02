//! What Redis does to the queue: forgetting, dying, going back in time, running out of memory, not answering.

use std::{collections::HashSet, time::Duration};

use anyhow::{Result, ensure};
use headworks_shared::{
    model::Priority,
    queue::{
        Claimed, Depth, Error, JobQueue as _, Settings, Ticket,
        conformance::{holder, job},
        redis::{Options, RedisQueue},
    },
};
use headworks_tests::{DEADLINE, servers::redis::Redis, until};
use redis::cmd;
use tokio::time::{Instant, timeout};

use super::{LASTING, claim, fill, open, options};

fn tickets(claimed: &[Claimed]) -> Vec<Ticket> {
    claimed.iter().map(|one| one.ticket).collect()
}

/// Answers in all ways.
async fn answer(queue: &RedisQueue, old: &[Claimed]) -> Result<()> {
    queue.extend(&tickets(old)).await?;
    for one in old {
        queue.again(one.ticket, Duration::from_secs(600), true).await?;
        queue.again(one.ticket, Duration::ZERO, false).await?;
    }
    Ok(queue.done(&tickets(old)).await?)
}

/// The queue works: within its deadlines it may fail until then.
async fn until_it_works(queue: &RedisQueue) -> Result<Depth> {
    let look = async || Ok(queue.depth().await);
    Ok(until("the queue to answer", DEADLINE, look, Result::is_ok).await??)
}

#[tokio::test]
async fn a_queue_that_was_flushed_goes_on_empty_under_another_name() -> Result<()> {
    let redis = Redis::start_with(&[]).await?;
    let (queue, mut raw) = (open(&redis, LASTING).await?, redis.connect().await?);
    queue.hold_credits(&holder(1), [5, 5, 5]).await?;
    fill(&queue, 0..6).await?;
    let old = claim(&queue, 4).await?;
    let name = queue.incarnation().await?;
    cmd("FLUSHALL").query_async::<()>(&mut raw).await?;
    ensure!(queue.depth().await?.is_empty());
    ensure!(queue.incarnation().await? != name);
    fill(&queue, 0..6).await?;
    let now = claim(&queue, 4).await?;
    answer(&queue, &old).await?;
    let depth = queue.depth().await?;
    ensure!((depth.ready, depth.in_flight, depth.delayed) == ([0, 2, 0], [0, 4, 0], [0; 3]), "{depth:?}");
    queue.done(&tickets(&now)).await?;
    ensure!(queue.depth().await?.jobs() == 2);
    Ok(())
}

#[tokio::test]
async fn every_verb_founds_a_queue_that_was_flushed() -> Result<()> {
    let redis = Redis::start_with(&[]).await?;
    let (queue, mut raw) = (open(&redis, LASTING).await?, redis.connect().await?);
    fill(&queue, 0..1).await?;
    let old = claim(&queue, 1).await?;
    for verb in 0..8 {
        cmd("FLUSHALL").query_async::<()>(&mut raw).await?;
        match verb {
            0 => queue.hold_credits(&holder(1), [1; 3]).await.map(drop)?,
            1 => fill(&queue, 0..1).await?,
            2 => ensure!(claim(&queue, 1).await?.is_empty()),
            3 => queue.extend(&tickets(&old)).await?,
            4 => queue.done(&tickets(&old)).await?,
            5 => queue.again(old[0].ticket, Duration::ZERO, true).await?,
            6 => ensure!(queue.depth().await?.is_empty()),
            _ => ensure!(!queue.incarnation().await?.is_empty()),
        }
    }
    Ok(())
}

#[tokio::test]
async fn what_was_answered_survives_a_kill() -> Result<()> {
    let mut redis = Redis::start().await?;
    let queue = open(&redis, Settings { lease: Duration::from_secs(2), ..LASTING }).await?;
    fill(&queue, 0..9).await?;
    let claimed = claim(&queue, 4).await?;
    queue.done(&tickets(&claimed[..2])).await?;
    queue.again(claimed[2].ticket, Duration::from_millis(1), true).await?;
    let (name, before) = (queue.incarnation().await?, queue.depth().await?.jobs());
    redis.kill()?;
    let asked = Instant::now();
    ensure!(matches!(queue.push(job(50, Priority::High), None).await, Err(Error::Unavailable(_))));
    ensure!(asked.elapsed() < Duration::from_secs(1), "a closed port is told at once");
    redis.start_again().await?;
    let asked = Instant::now();
    ensure!(queue.depth().await?.jobs() == before, "the first call after the restart does not answer");
    ensure!(asked.elapsed() < Duration::from_secs(1));
    ensure!(queue.incarnation().await? != name, "a restart may have lost something");
    // Its lease stands, or is delivered again: in the end everything is done.
    queue.done(&tickets(&claimed[3..])).await?;
    let look = async || {
        let claimed = claim(&queue, 9).await?;
        queue.done(&tickets(&claimed)).await?;
        Ok(queue.depth().await?.jobs())
    };
    until("all to be done", DEADLINE, look, |jobs| *jobs == 0).await.map(drop)
}

#[tokio::test]
async fn old_tickets_change_nothing_in_a_stale_copy() -> Result<()> {
    let mut redis = Redis::start().await?;
    let queue = open(&redis, LASTING).await?;
    fill(&queue, 0..4).await?;
    let (copy, name) = (redis.copy()?, queue.incarnation().await?);
    let old = claim(&queue, 3).await?;
    queue.done(&tickets(&old[..1])).await?;
    redis.kill()?;
    redis.restore(&copy)?;
    redis.start_again().await?;
    let depth = until_it_works(&queue).await?;
    ensure!(depth.ready == [0, 4, 0], "the copy is older: {depth:?}");
    ensure!(queue.incarnation().await? != name);
    // The same entries, to the same consumer.
    let now = claim(&queue, 3).await?;
    ensure!(now[0].ticket.entry == old[0].ticket.entry && now[0].ticket != old[0].ticket);
    answer(&queue, &old).await?;
    let depth = queue.depth().await?;
    ensure!((depth.ready, depth.in_flight, depth.delayed) == ([0, 1, 0], [0, 3, 0], [0; 3]), "{depth:?}");
    Ok(())
}

#[tokio::test]
async fn a_redis_that_is_out_of_memory_refuses_jobs_and_drains() -> Result<()> {
    let redis = Redis::start_with(&["--maxmemory", "8mb"]).await?;
    let queue = open(&redis, Settings { capacity: 1_000_000, ..LASTING }).await?;
    let mut pushed = 0;
    let error = loop {
        match queue.push(job(pushed, Priority::High), None).await {
            Ok(()) => pushed += 1,
            Err(error) => break error,
        }
        ensure!(pushed < 100_000, "it is never out of memory");
    };
    ensure!(matches!(error, Error::Unavailable(_)), "{error:?}");
    ensure!(matches!(queue.hold_credits(&holder(1), [1; 3]).await, Err(Error::Unavailable(_))));
    let depth = queue.depth().await?;
    ensure!(u64::try_from(depth.jobs())? == pushed, "an error left half a job: {depth:?} of {pushed}");
    let claimed = claim(&queue, 500).await?;
    ensure!(claimed.len() == 500, "a full Redis does not drain");
    queue.extend(&tickets(&claimed)).await?;
    queue.again(claimed[0].ticket, Duration::from_millis(1), true).await?;
    queue.done(&tickets(&claimed)).await?;
    let look = async || {
        let claimed = claim(&queue, 500).await?;
        queue.done(&tickets(&claimed)).await?;
        Ok(queue.depth().await?.jobs())
    };
    until("all to be done", 3 * DEADLINE, look, |jobs| *jobs == 0).await?;
    fill(&queue, 0..1).await
}

#[tokio::test]
async fn a_redis_that_hangs_is_told_within_the_timeout_and_loses_nothing() -> Result<()> {
    let redis = Redis::start_with(&[]).await?;
    let hasty = Options { command_timeout: Duration::from_millis(500), ..options("test") };
    let queue = RedisQueue::open(&redis.url(), hasty, LASTING).await?;
    fill(&queue, 0..6).await?;
    let had = claim(&queue, 2).await?;
    redis.hang()?;
    for verb in 0..7 {
        let asked = Instant::now();
        let result = match verb {
            0 => queue.hold_credits(&holder(1), [1; 3]).await.map(drop),
            1 => queue.push(job(6, Priority::Normal), None).await,
            2 => queue.claim(2, Duration::ZERO).await.map(drop),
            3 => queue.extend(&tickets(&had)).await,
            4 => queue.done(&tickets(&had[..1])).await,
            5 => queue.depth().await.map(drop),
            _ => queue.incarnation().await.map(drop),
        };
        ensure!(matches!(result, Err(Error::Unavailable(_))), "verb {verb}: {result:?}");
        ensure!(asked.elapsed() < Duration::from_secs(2), "verb {verb} took {:?}", asked.elapsed());
    }
    redis.go_on()?;
    until_it_works(&queue).await?;
    // What was asked and not heard of may be done or not; asked again it is done once, long before any lease lapses.
    fill(&queue, 6..7).await?;
    queue.done(&tickets(&had)).await?;
    let mut ids: HashSet<_> = had.iter().map(|one| one.job.id).collect();
    let look = async || {
        let claimed = claim(&queue, 9).await?;
        ensure!(claimed.iter().all(|one| one.deliveries == 1 && ids.insert(one.job.id)), "{claimed:?}");
        queue.done(&tickets(&claimed)).await?;
        Ok((ids.len(), queue.depth().await?.jobs()))
    };
    until("all seven to be handed out", DEADLINE, look, |seen| *seen == (7, 0)).await.map(drop)
}

#[tokio::test]
async fn who_waits_when_redis_hangs_or_dies_is_told() -> Result<()> {
    let mut redis = Redis::start().await?;
    let queue = open(&redis, LASTING).await?;
    for dies in [false, true] {
        let waiting = timeout(DEADLINE, queue.claim(1, 2 * DEADLINE));
        let fault = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            if dies { redis.kill() } else { redis.hang() }
        };
        let (claimed, fault) = tokio::join!(waiting, fault);
        fault?;
        ensure!(matches!(claimed?, Err(Error::Unavailable(_))));
        if dies {
            redis.start_again().await?
        } else {
            redis.go_on()?
        }
        until_it_works(&queue).await?;
    }
    fill(&queue, 0..1).await?;
    ensure!(claim(&queue, 1).await?.len() == 1);
    Ok(())
}
