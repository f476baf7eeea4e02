//! The queue in Redis: it keeps the seam's promises, and no state of the server makes it break them.

mod bound;
mod faults;
mod leases;
mod scripts;
mod start;
mod together;
mod wakes;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use headworks_shared::{
    model::Priority,
    queue::{
        Claimed, JobQueue, Settings,
        conformance::{self, job},
        redis::{Options, RedisQueue},
    },
    resilience::{Guard, Rule},
};
use headworks_tests::servers::redis::Redis;
use redis::{InfoDict, aio::MultiplexedConnection, cmd};

/// Under which nothing lapses during a test.
const LASTING: Settings =
    Settings { capacity: 100, lease: Duration::from_secs(600), credit_ttl: Duration::from_secs(600) };

/// How a process uses Redis; each has another name.
fn options(name: &str) -> Options {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    Options {
        // It never opens: each call is made, and what comes of it is what is tested.
        guard: Guard::silent("queue", Rule { calls: u32::MAX, ..Rule::QUEUE }),
        name: name.to_owned(),
        pool: 32,
        // More than a machine that is busy with other tests takes.
        command_timeout: Duration::from_secs(6),
        consumer: format!("process-{}", COUNT.fetch_add(1, Ordering::Relaxed)),
    }
}

/// The queue `test`, as one process sees it.
async fn open(redis: &Redis, settings: Settings) -> Result<RedisQueue> {
    Ok(RedisQueue::open(&redis.url(), options("test"), settings).await?)
}

async fn fill(queue: &RedisQueue, numbers: std::ops::Range<u64>) -> Result<()> {
    for n in numbers {
        queue.push(job(n, Priority::Normal), None).await?;
    }
    Ok(())
}

/// What is there now.
async fn claim(queue: &RedisQueue, max: usize) -> Result<Vec<Claimed>> {
    Ok(queue.claim(max, Duration::ZERO).await?)
}

/// How often a script was called by its digest.
async fn calls(redis: &mut MultiplexedConnection) -> Result<u64> {
    let info: InfoDict = cmd("INFO").arg("commandstats").query_async(redis).await?;
    let stats: String = info.get("cmdstat_evalsha").unwrap_or_default();
    Ok(stats.split(['=', ',']).nth(1).unwrap_or_default().parse()?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_every_promise_of_the_seam() -> Result<()> {
    let redis = Redis::start_with(&[]).await?;
    let count = AtomicU32::new(0);
    conformance::suite(async |settings| {
        let name = format!("promise-{}", count.fetch_add(1, Ordering::Relaxed));
        let queue = RedisQueue::open(&redis.url(), options(&name), settings).await;
        Arc::new(queue.expect("open the queue")) as Arc<dyn JobQueue>
    })
    .await;
    Ok(())
}
