//! A server that is killed, stopped or gone: nobody waits for ever, nothing that was answered is lost, and all goes on when it is back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Result, ensure};
use headworks_shared::{
    meta::{
        Audit as _, Catalog as _, Error, Ledger as _, Usage,
        postgres::{Options, PostgresMeta},
    },
    model::{Scope, State, UploadId},
};
use headworks_tests::{
    DEADLINE,
    servers::{pgbouncer::PgBouncer, postgres::Postgres},
    until,
};
use rustix::process::Signal;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::{AT, fresh, options, uploads};

/// Persists batches until told to stop, each again until it is answered; gives back what was acknowledged.
async fn write_until(meta: Arc<PostgresMeta>, name: String, stop: Arc<AtomicBool>) -> Result<Vec<UploadId>> {
    let mut acknowledged = Vec::new();
    let mut round = 0;
    while !stop.load(Ordering::Relaxed) {
        let batch = uploads(&format!("{name}/{round}"), 20);
        round += 1;
        loop {
            match meta.persist(&batch, AT).await {
                Ok(_) => break acknowledged.extend(batch.iter().map(|record| record.id)),
                Err(Error::Unavailable(_)) => sleep(Duration::from_millis(20)).await,
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(acknowledged)
}

/// Four writers at work while `harm` is done; then all that they were told is there, once.
async fn nothing_is_lost(meta: &Arc<PostgresMeta>, harm: impl AsyncFnOnce() -> Result<()>) -> Result<()> {
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for writer in 0..4 {
        writers.spawn(write_until(Arc::clone(meta), format!("w{writer}"), Arc::clone(&stop)));
    }
    harm().await?;
    // All of them get through again.
    let objects = async || Ok(meta.usage(&Scope::default()).await.map_or(0, |usage| usage.objects));
    let then = until("an answer", DEADLINE, objects, |objects| *objects > 0).await?;
    until("more objects", DEADLINE, objects, |objects| *objects > then + 200).await?;
    stop.store(true, Ordering::Relaxed);
    let mut acknowledged = Vec::new();
    while let Some(ids) = writers.join_next().await {
        acknowledged.extend(ids??);
    }
    let states = meta.states(&acknowledged).await?;
    ensure!(states.iter().all(|state| *state == Some(State::Stored)), "an acknowledged upload is lost");
    let count = acknowledged.len() as u64;
    ensure!(meta.usage(&Scope::default()).await? == Usage { objects: count, bytes: 10 * count });
    let wrong = meta.contradictions().await?;
    ensure!(wrong.is_empty(), "{wrong:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_killed_in_the_middle_cost_a_repeat_and_nothing_else() -> Result<()> {
    let (meta, postgres, database) = fresh().await?;
    let kill = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}' AND pid <> pg_backend_pid()"
    );
    nothing_is_lost(&meta, async || {
        let mut killed = 0;
        let kills = async || {
            killed += postgres.say("postgres", &kill).await?.len();
            Ok(killed)
        };
        until("forty killed connections", DEADLINE, kills, |killed| *killed >= 40).await.map(drop)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_cut_off_comes_back_with_all_that_was_answered() -> Result<()> {
    // It syncs: what it answered must be on the disk.
    let mut postgres = Postgres::start_with(&["max_connections=50"]).await?;
    let database = postgres.database().await?;
    let meta = Arc::new(PostgresMeta::open(&postgres.url(&database), &options()).await?);
    nothing_is_lost(&Arc::clone(&meta), async || {
        for _ in 0..3 {
            let objects = async || Ok(meta.usage(&Scope::default()).await.map_or(0, |usage| usage.objects));
            let then = until("an answer", DEADLINE, objects, |objects| *objects > 0).await?;
            until("more objects", DEADLINE, objects, |objects| *objects > then + 100).await?;
            postgres.stop_at_once().await?;
            let began = Instant::now();
            ensure!(matches!(meta.swept().await, Err(Error::Unavailable(_))));
            ensure!(began.elapsed() < DEADLINE, "{:?}", began.elapsed());
            postgres.restart().await?;
        }
        Ok(())
    })
    .await
}

/// The longest call, as the options say it, and a second for a busy machine.
const LONGEST: Duration = Duration::from_secs(1 + 2 + 1 + 1);

fn impatient() -> Options {
    Options {
        acquire_timeout: Duration::from_secs(1),
        statement_timeout: Duration::from_secs(2),
        ..options()
    }
}

async fn hangs_no_longer_than_it_may(postgres: &Postgres, meta: &PostgresMeta) -> Result<()> {
    let batch = uploads("before", 3);
    meta.persist(&batch, AT).await?;
    postgres.signal(Signal::STOP)?;
    // The first finds an open connection, and the others as many new ones as the pool allows.
    let mut calls = Vec::new();
    for number in 0..10 {
        let batch = uploads(&format!("hang/{number}"), 1);
        calls.push(async move {
            let began = Instant::now();
            let outcome = meta.persist(&batch, AT).await;
            (began.elapsed(), outcome)
        });
    }
    let all = futures_util::future::join_all(calls);
    for (took, outcome) in timeout(3 * LONGEST, all).await? {
        ensure!(matches!(outcome, Err(Error::Unavailable(_))), "{outcome:?}");
        ensure!(took < LONGEST, "{took:?}");
    }
    postgres.signal(Signal::CONT)?;
    let again = async || Ok(meta.persist(&uploads("after", 1), AT).await.is_ok());
    until("an answer", DEADLINE, again, |answered| *answered).await?;
    ensure!(meta.states(&[batch[0].id]).await? == [Some(State::Stored)]);
    let wrong = meta.contradictions().await?;
    ensure!(wrong.is_empty(), "{wrong:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_for_ever_for_a_server_that_hangs() -> Result<()> {
    let postgres = Postgres::start().await?;
    let database = postgres.database().await?;
    let meta = PostgresMeta::open(&postgres.url(&database), &impatient()).await?;
    hangs_no_longer_than_it_may(&postgres, &meta).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_for_ever_for_a_server_that_hangs_behind_a_pgbouncer() -> Result<()> {
    let postgres = Arc::new(Postgres::start().await?);
    let database = postgres.database().await?;
    let bouncer = PgBouncer::start(&postgres, 3).await?;
    let meta = PostgresMeta::open(&bouncer.url(&database), &impatient()).await?;
    hangs_no_longer_than_it_may(&postgres, &meta).await
}

#[tokio::test]
async fn a_server_that_is_not_there_is_an_error_at_once() -> Result<()> {
    let nobody = headworks_tests::servers::free_address()?;
    let began = Instant::now();
    let opened = PostgresMeta::open(&format!("postgres://postgres@{nobody}/x"), &options()).await;
    ensure!(opened.is_err() && began.elapsed() < Duration::from_secs(5), "{opened:?}");
    Ok(())
}
