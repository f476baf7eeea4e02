//! The bound is never passed by one, whoever pushes, claims, lets leases and grants lapse, and goes away.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Result, ensure};
use headworks_shared::{
    model::{Priority, UploadId},
    queue::{
        Depth, Error, JobQueue as _, Settings,
        conformance::{holder, job},
        redis::RedisQueue,
    },
};
use headworks_tests::{DEADLINE, servers::redis::Redis, until};
use redis::Script;
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use super::open;

const CAPACITY: usize = 60;
/// Grants and leases lapse all the time.
const HASTY: Settings =
    Settings { capacity: CAPACITY, lease: Duration::from_millis(60), credit_ttl: Duration::from_millis(40) };
const PUSHERS: u8 = 12;
const WORKERS: u64 = 8;
const JOBS_EACH: u64 = 150;

/// Counts everything that is there by itself, in another way than the queue does: one by one, and by the entries themselves.
const COUNT: &str = r"
    local time = redis.call('TIME')
    local now = time[1] * 1000000 + time[2]
    local jobs, credits, ids = 0, 0, {}
    for _, line in ipairs({ 'high', 'normal', 'low' }) do
        jobs = jobs + #redis.call('XRANGE', '{hw:test}:' .. line, '-', '+')
            + #redis.call('ZRANGE', '{hw:test}:delayed:' .. line, 0, -1)
    end
    for _, holder in ipairs(redis.call('ZRANGE', '{hw:test}:holders', '(' .. string.format('%.0f', now), '+inf', 'BYSCORE')) do
        for p = 1, 3 do
            credits = credits + (redis.call('HGET', '{hw:test}:credits', p .. ':' .. holder) or 0)
        end
    end
    return { jobs, credits, redis.call('ZCARD', '{hw:test}:jobs') }";

/// One count, and the most that was seen.
async fn watch(redis: Arc<Redis>, stop: Arc<AtomicBool>) -> Result<usize> {
    let (mut raw, script) = (redis.connect().await?, Script::new(COUNT));
    let mut most = 0;
    while !stop.load(Ordering::Relaxed) {
        let (jobs, credits, known): (usize, usize, usize) = script.invoke_async(&mut raw).await?;
        ensure!(jobs + credits <= CAPACITY, "over the bound: {jobs} jobs, {credits} credits");
        ensure!(jobs == known, "{jobs} jobs, {known} of them known");
        most = most.max(jobs + credits);
    }
    Ok(most)
}

/// Pushes its jobs, with and without credits, and holds more than it needs; says how often it was refused.
async fn produce(queue: RedisQueue, who: u8) -> Result<usize> {
    let mut refused = 0;
    for n in 0..JOBS_EACH {
        let priority = Priority::ALL[usize::try_from(n % 3)?];
        let job = job(u64::from(who) * JOBS_EACH + n, priority);
        let by = (n % 2 == 0).then(|| holder(who));
        if by.is_some() {
            queue.hold_credits(&holder(who), [fastrand::usize(0..4); 3]).await?;
        }
        while let Err(error) = queue.push(job.clone(), by.as_ref()).await {
            ensure!(matches!(error, Error::Full), "{error:?}");
            refused += 1;
            sleep(Duration::from_millis(2)).await;
        }
    }
    queue.hold_credits(&holder(who), [0; 3]).await?;
    Ok(refused)
}

/// Claims, and answers in every way, or not at all; says which jobs it had.
async fn work(queue: RedisQueue, left: Arc<AtomicUsize>) -> Result<HashSet<UploadId>> {
    let mut seen = HashSet::new();
    while left.load(Ordering::Relaxed) > 0 {
        for claimed in queue.claim(fastrand::usize(1..12), Duration::from_millis(20)).await? {
            seen.insert(claimed.job.id);
            match fastrand::u8(0..10) {
                0 => sleep(Duration::from_millis(80)).await,
                1 => queue.again(claimed.ticket, Duration::from_millis(fastrand::u64(0..20)), true).await?,
                2 => queue.extend(&[claimed.ticket]).await?,
                _ => queue.done(&[claimed.ticket]).await?,
            }
        }
    }
    Ok(seen)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bound_is_never_passed_by_one() -> Result<()> {
    let redis = Arc::new(Redis::start_with(&[]).await?);
    let queue = open(&redis, HASTY).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let mut watching = JoinSet::new();
    watching.spawn(watch(Arc::clone(&redis), Arc::clone(&stop)));
    let left = Arc::new(AtomicUsize::new(1));
    let (mut pushers, mut workers) = (JoinSet::new(), JoinSet::new());
    for who in 0..PUSHERS {
        pushers.spawn(produce(open(&redis, HASTY).await?, who));
    }
    for _ in 0..WORKERS {
        workers.spawn(work(open(&redis, HASTY).await?, Arc::clone(&left)));
    }
    let refused: usize =
        timeout(4 * DEADLINE, pushers.join_all()).await?.into_iter().sum::<Result<usize>>()?;
    ensure!(refused > 0, "the queue was never full");
    let look = async || Ok(queue.depth().await?);
    until("everything to be done", DEADLINE, look, Depth::is_empty).await?;
    left.store(0, Ordering::Relaxed);
    let mut seen = HashSet::new();
    for worked in timeout(DEADLINE, workers.join_all()).await? {
        seen.extend(worked?);
    }
    ensure!(seen.len() == usize::from(PUSHERS) * usize::try_from(JOBS_EACH)?, "jobs were lost");
    stop.store(true, Ordering::Relaxed);
    let most = timeout(DEADLINE, watching.join_all()).await?.into_iter().sum::<Result<usize>>()?;
    ensure!(most == CAPACITY, "the bound was never reached: {most}");
    Ok(())
}
