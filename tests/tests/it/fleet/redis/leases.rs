//! Leases of processes that go away, and claims whose answers do.

use std::{pin::pin, time::Duration};

use anyhow::{Result, ensure};
use futures_util::poll;
use headworks_shared::{
    model::Priority,
    queue::{JobQueue as _, Settings, conformance::job},
};
use headworks_tests::{DEADLINE, servers::redis::Redis, until};
use redis::cmd;
use tokio::time::timeout;

use super::{LASTING, claim, fill, open};

#[tokio::test]
async fn jobs_of_a_process_that_is_gone_go_to_another_after_the_lease() -> Result<()> {
    let redis = Redis::start_with(&[]).await?;
    let settings = Settings { lease: Duration::from_millis(400), ..LASTING };
    let (gone, other) = (open(&redis, settings).await?, open(&redis, settings).await?);
    fill(&gone, 0..4).await?;
    let lost = claim(&gone, 3).await?;
    drop(gone);
    let claimed = claim(&other, 9).await?;
    ensure!(claimed.len() == 1, "leases that stand are nobody else's");
    other.done(&[claimed[0].ticket]).await?;
    let back = timeout(DEADLINE, other.claim(9, 2 * DEADLINE)).await??;
    ensure!(back.len() == 3 && back.iter().all(|one| one.deliveries == 2), "{back:?}");
    ensure!(back.iter().zip(&lost).all(|(back, lost)| back.job == lost.job && back.ticket != lost.ticket));
    Ok(())
}

/// In line, in work, put off.
#[tokio::test]
async fn whoever_looks_into_the_queue_sees_every_job_wherever_it_stands() -> Result<()> {
    let redis = Redis::start_with(&[]).await?;
    let queue = open(&redis, LASTING).await?;
    ensure!(queue.waiting().await?.is_empty());
    fill(&queue, 0..3).await?;
    let claimed = claim(&queue, 2).await?;
    queue.again(claimed[0].ticket, LASTING.lease, true).await?;
    let mut waiting = queue.waiting().await?;
    waiting.sort();
    ensure!(waiting == [0, 1, 2].map(|n| job(n, Priority::Normal).id), "{waiting:?}");
    Ok(())
}

#[tokio::test]
async fn lapsed_leases_stand_first_in_line() -> Result<()> {
    let redis = Redis::start_with(&[]).await?;
    let queue = open(&redis, Settings { lease: Duration::from_millis(200), ..LASTING }).await?;
    fill(&queue, 0..4).await?;
    ensure!(claim(&queue, 2).await?.len() == 2);
    let look = async || Ok(queue.depth().await?.ready);
    until("lapsed", DEADLINE, look, |ready| *ready == [0, 4, 0]).await?;
    let ids: Vec<_> = claim(&queue, 9).await?.iter().map(|one| one.job.id).collect();
    ensure!(ids == [0, 1, 2, 3].map(|n| job(n, Priority::Normal).id), "{ids:?}");
    Ok(())
}

/// The lease would keep them for ten minutes.
#[tokio::test]
async fn jobs_of_a_claim_that_was_cut_off_are_claimed_by_the_next() -> Result<()> {
    let redis = Redis::start_with(&[]).await?;
    let (queue, mut raw) = (open(&redis, LASTING).await?, redis.connect().await?);
    ensure!(claim(&queue, 1).await?.is_empty());
    fill(&queue, 0..5).await?;
    // Scripts that write wait at the server, and what they are asked before does not.
    cmd("CLIENT").arg(&["PAUSE", "1000", "WRITE"]).query_async::<()>(&mut raw).await?;
    {
        let mut cut_off = pin!(queue.claim(3, Duration::ZERO));
        ensure!(timeout(Duration::from_millis(200), cut_off.as_mut()).await.is_err());
        ensure!(poll!(cut_off.as_mut()).is_pending());
    }
    let look = async || Ok(queue.depth().await?.in_flight);
    until("Redis to do what was asked", DEADLINE, look, |in_flight| *in_flight == [0, 3, 0]).await?;
    let claimed = claim(&queue, 9).await?;
    ensure!(claimed.len() == 5 && claimed.iter().all(|one| one.deliveries == 1), "{claimed:?}");
    Ok(())
}
