//! What a server must be.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use headworks_shared::{
    queue::{
        JobQueue as _,
        redis::{OpenError, Options, RedisQueue},
    },
    report::Report,
};
use headworks_tests::servers::{certificates::Certificates, free_address, redis::Redis};
use tokio::time::Instant;

use super::{LASTING, claim, fill, open, options};

#[tokio::test]
async fn a_redis_that_evicts_is_refused() -> Result<()> {
    for policy in ["allkeys-lru", "volatile-ttl"] {
        let redis = Redis::start_with(&["--maxmemory-policy", policy]).await?;
        let error =
            RedisQueue::open(&redis.url(), options("test"), LASTING).await.err().context("refused")?;
        ensure!(matches!(&error, OpenError::Evicts { policy: told } if told == policy), "{error}");
        ensure!(error.to_string().contains("noeviction"), "{error}");
    }
    Ok(())
}

/// As managed services are.
#[tokio::test]
async fn a_redis_that_forbids_looking_at_it_is_taken() -> Result<()> {
    for forbidden in ["CONFIG", "INFO"] {
        let redis = Redis::start_with(&["--rename-command", forbidden, ""]).await?;
        let queue = open(&redis, LASTING).await?;
        fill(&queue, 0..1).await?;
        ensure!(claim(&queue, 1).await?.len() == 1);
        ensure!(queue.incarnation().await? == queue.incarnation().await?);
    }
    Ok(())
}

#[tokio::test]
async fn a_redis_that_is_not_there_is_told_in_time() -> Result<()> {
    let asked = Instant::now();
    let url = format!("redis://{}", free_address()?);
    let error = RedisQueue::open(&url, options("test"), LASTING).await.err().context("refused")?;
    ensure!(matches!(error, OpenError::Unreachable(_)), "{error}");
    ensure!(asked.elapsed() < Duration::from_secs(3));
    Ok(())
}

#[tokio::test]
async fn a_name_or_url_that_cannot_be_is_refused() -> Result<()> {
    for name in ["", "a{b", "a}b"] {
        let error = RedisQueue::open("redis://127.0.0.1:1", options(name), LASTING).await.err();
        ensure!(matches!(error, Some(OpenError::Name { .. })), "{name:?}: {error:?}");
    }
    let error = RedisQueue::open("http://127.0.0.1:1", options("test"), LASTING).await.err();
    ensure!(matches!(error, Some(OpenError::Url(_))), "{error:?}");
    Ok(())
}

#[tokio::test]
async fn processes_share_a_queue_by_its_name_alone() -> Result<()> {
    let redis = Redis::start_with(&[]).await?;
    let (one, same) = (open(&redis, LASTING).await?, open(&redis, LASTING).await?);
    let other = RedisQueue::open(&redis.url(), options("other"), LASTING).await?;
    fill(&one, 0..2).await?;
    ensure!(claim(&other, 9).await?.is_empty());
    ensure!(claim(&same, 1).await?.len() == 1);
    ensure!(claim(&one, 9).await?.len() == 1);
    ensure!(one.incarnation().await? == same.incarnation().await?);
    ensure!(one.incarnation().await? != other.incarnation().await?);
    Ok(())
}

#[tokio::test]
async fn the_pool_has_its_size_and_tells_how_it_is_used() -> Result<()> {
    let redis = Redis::start_with(&[]).await?;
    let small = Options { pool: 3, command_timeout: Duration::from_secs(2), ..options("test") };
    let queue = RedisQueue::open(&redis.url(), small, LASTING).await?;
    redis.hang()?;
    let calls = futures_util::future::join_all((0..8).map(|_| queue.depth()));
    let look = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        queue.pool()
    };
    let (results, busy) = tokio::join!(calls, look);
    ensure!(busy.available == 0 && busy.size + busy.waiting == 8 && busy.max == 3, "{busy:?}");
    ensure!(results.iter().all(Result::is_err));
    redis.go_on()?;
    queue.depth().await?;
    let idle = queue.pool();
    ensure!(idle.waiting == 0 && idle.available == idle.size && idle.size >= 1, "{idle:?}");
    Ok(())
}

/// TLS speaks, and does not trust a server that nobody vouches for.
#[tokio::test]
async fn a_server_without_a_certificate_to_trust_is_refused() -> Result<()> {
    let made = Certificates::make("DNS:localhost")?;
    let tls = free_address()?.port().to_string();
    let [key, certificate] = [made.key(), made.server()].map(|path| path.display().to_string());
    let _redis = Redis::start_with(&[
        "--tls-port",
        &tls,
        "--tls-key-file",
        &key,
        "--tls-cert-file",
        &certificate,
        "--tls-auth-clients",
        "no",
        "--tls-ca-cert-file",
        &certificate,
    ])
    .await?;
    let opened = RedisQueue::open(&format!("rediss://localhost:{tls}"), options("test"), LASTING).await;
    let error = opened.err().context("refused")?;
    let told = Report(&error).to_string();
    ensure!(told.contains("certificate"), "{told}");
    Ok(())
}
