//! What the scripts leave in Redis, and what they make of what somebody else did there.

use std::{collections::HashSet, time::Duration};

use anyhow::{Result, ensure};
use headworks_shared::{
    model::Priority,
    queue::{
        Depth, JobQueue as _, Settings,
        conformance::{holder, job},
        redis::RedisQueue,
    },
};
use headworks_tests::{DEADLINE, servers::redis::Redis, until};
use redis::{FromRedisValue, aio::MultiplexedConnection, cmd};

use super::{LASTING, claim, fill, open, options};

const SHORT: Settings = Settings { lease: Duration::from_millis(300), ..LASTING };

async fn ask<T: FromRedisValue>(redis: &mut MultiplexedConnection, line: &str) -> Result<T> {
    let mut words = line.split(' ');
    let mut command = cmd(words.next().unwrap_or_default());
    for word in words {
        command.arg(word);
    }
    Ok(command.query_async(redis).await?)
}

#[tokio::test]
async fn all_keys_are_under_one_tag_and_nothing_stays_of_jobs_that_are_done() -> Result<()> {
    let redis = Redis::start_with(&[]).await?;
    let (queue, mut raw) = (open(&redis, LASTING).await?, redis.connect().await?);
    queue.hold_credits(&holder(1), [2, 2, 2]).await?;
    fill(&queue, 0..20).await?;
    let claimed = claim(&queue, 10).await?;
    for one in &claimed[..5] {
        queue.again(one.ticket, Duration::from_millis(1), true).await?;
    }
    let keys: Vec<String> = ask(&mut raw, "KEYS *").await?;
    ensure!(keys.iter().all(|key| key.starts_with("{hw:test}:")), "{keys:?}");
    queue.hold_credits(&holder(1), [0; 3]).await?;
    queue.done(&claimed.iter().map(|one| one.ticket).collect::<Vec<_>>()).await?;
    let look = async || {
        let claimed = claim(&queue, 99).await?;
        queue.done(&claimed.iter().map(|one| one.ticket).collect::<Vec<_>>()).await?;
        Ok(queue.depth().await?)
    };
    until("empty", DEADLINE, look, Depth::is_empty).await?;
    let keys: HashSet<String> = ask(&mut raw, "KEYS *").await?;
    let left = ["queue", "bell", "credits", "high", "normal", "low"].map(|key| format!("{{hw:test}}:{key}"));
    ensure!(keys.is_subset(&left.into()), "{keys:?}");
    let pending: Vec<redis::Value> = ask(&mut raw, "XPENDING {hw:test}:normal processors").await?;
    ensure!(pending.first() == Some(&redis::Value::Int(0)), "{pending:?}");
    ensure!(ask::<u64>(&mut raw, "XLEN {hw:test}:normal").await? == 0);
    Ok(())
}

#[tokio::test]
async fn a_script_that_redis_forgot_is_loaded_again() -> Result<()> {
    let redis = Redis::start_with(&[]).await?;
    let (queue, mut raw) = (open(&redis, LASTING).await?, redis.connect().await?);
    fill(&queue, 0..1).await?;
    ask::<()>(&mut raw, "SCRIPT FLUSH").await?;
    fill(&queue, 1..2).await?;
    ensure!(claim(&queue, 9).await?.len() == 2);
    Ok(())
}

#[tokio::test]
async fn a_group_that_is_gone_is_made_anew_and_every_entry_is_handed_out_again() -> Result<()> {
    let redis = Redis::start_with(&[]).await?;
    let (queue, mut raw) = (open(&redis, LASTING).await?, redis.connect().await?);
    fill(&queue, 0..3).await?;
    let old = claim(&queue, 2).await?;
    let name = queue.incarnation().await?;
    ask::<()>(&mut raw, "XGROUP DESTROY {hw:test}:normal processors").await?;
    let now = claim(&queue, 9).await?;
    ensure!(now.len() == 3, "{now:?}");
    for _ in 0..2 {
        ensure!(queue.depth().await?.in_flight == [0, 3, 0], "an old ticket fits a new claim");
        queue.done(&old.iter().map(|one| one.ticket).collect::<Vec<_>>()).await?;
    }
    ensure!(queue.incarnation().await? == name, "nothing was lost");
    Ok(())
}

/// Jobs that are only known by their ids would keep the sweep's from being queued, for ever.
#[tokio::test]
async fn a_queue_that_lost_a_line_is_emptied_and_takes_its_jobs_again() -> Result<()> {
    let redis = Redis::start_with(&[]).await?;
    let (queue, mut raw) = (open(&redis, LASTING).await?, redis.connect().await?);
    fill(&queue, 0..3).await?;
    let name = queue.incarnation().await?;
    ask::<()>(&mut raw, "DEL {hw:test}:normal").await?;
    ensure!(claim(&queue, 9).await?.is_empty());
    ensure!(queue.incarnation().await? != name, "the sweep is not told");
    ensure!(queue.depth().await?.is_empty());
    fill(&queue, 0..3).await?;
    ensure!(claim(&queue, 9).await?.len() == 3);
    Ok(())
}

#[tokio::test]
async fn leases_that_somebody_deleted_are_noticed() -> Result<()> {
    let redis = Redis::start_with(&[]).await?;
    let (queue, mut raw) = (open(&redis, SHORT).await?, redis.connect().await?);
    fill(&queue, 0..3).await?;
    ensure!(claim(&queue, 3).await?.len() == 3);
    ask::<()>(&mut raw, "DEL {hw:test}:leases:normal").await?;
    let mut back = 0;
    let look = async || {
        back += claim(&queue, 9).await?.len();
        Ok(back)
    };
    until("all to be handed out again", DEADLINE, look, |back| *back >= 3).await.map(drop)
}

#[tokio::test]
async fn an_entry_that_is_no_job_holds_nobody_up() -> Result<()> {
    let redis = Redis::start_with(&[]).await?;
    let (queue, mut raw) = (open(&redis, LASTING).await?, redis.connect().await?);
    let id = job(77, Priority::Normal).id;
    ask::<()>(
        &mut raw,
        &format!("XADD {{hw:test}}:normal * id {id} tries 0 handed 0 job {{\"kind\":\"new.v9\"}}"),
    )
    .await?;
    ask::<()>(&mut raw, &format!("ZADD {{hw:test}}:jobs 1 {id}")).await?;
    fill(&queue, 0..1).await?;
    let claimed = claim(&queue, 9).await?;
    ensure!(claimed.len() == 1 && claimed[0].job.id == job(0, Priority::Normal).id);
    let depth = queue.depth().await?;
    ensure!((depth.in_flight, depth.delayed) == ([0, 1, 0], [0, 1, 0]), "{depth:?}");
    Ok(())
}

#[tokio::test]
async fn consumers_that_are_gone_are_forgotten_but_not_what_they_have_pending() -> Result<()> {
    let redis = Redis::start_with(&[]).await?;
    let (here, gone) = (open(&redis, SHORT).await?, open(&redis, SHORT).await?);
    let named = options("test");
    let name = named.consumer.clone();
    let pending = RedisQueue::open(&redis.url(), named, SHORT).await?;
    let mut raw = redis.connect().await?;
    fill(&here, 0..3).await?;
    let kept = claim(&pending, 1).await?;
    for queue in [&here, &gone] {
        let one = claim(queue, 1).await?;
        queue.done(&[one[0].ticket]).await?;
    }
    let mut consumers = async || {
        pending.extend(&[kept[0].ticket]).await?;
        ensure!(claim(&here, 9).await?.is_empty(), "what is pending was thrown away with its consumer");
        let told: Vec<Vec<redis::Value>> =
            ask(&mut raw, "XINFO CONSUMERS {hw:test}:normal processors").await?;
        Ok(format!("{told:?}"))
    };
    let one = |told: &String| told.matches("process-").count() == 1;
    let left = until("only one consumer", DEADLINE, &mut consumers, one).await?;
    ensure!(left.contains(&name), "{left}");
    pending.done(&[kept[0].ticket]).await?;
    ensure!(here.depth().await?.jobs() == 0);
    Ok(())
}
