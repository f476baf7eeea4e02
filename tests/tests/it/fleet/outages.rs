//! Servers that fail under load: uploads are refused or deferred with the truth about why, and nothing that was acknowledged is lost.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Result, ensure};
use headworks_tests::{
    DEADLINE, Fleet,
    fleet::{Kind, Store, Uploads},
    servers::fault::Fault,
    until,
};
use redis::AsyncCommands as _;
use rustix::process::Signal;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

/// How many clients there are, each with one upload after the other.
const CLIENTS: usize = 8;

/// How long they go on.
const LOAD: Duration = Duration::from_secs(6);

/// When the fault comes.
const SOON: Duration = Duration::from_millis(1500);

/// How long a server is gone.
const OUTAGE: Duration = Duration::from_secs(2);

/// Between one fault and the next.
const REST: Duration = Duration::from_millis(400);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_emptied_full_killed_and_restored_from_an_older_copy() -> Result<()> {
    let mut fleet = Fleet::start(Store::Disk).await?;
    let uploads = Uploads::default();
    under_load(&mut fleet, &uploads, "emptied", async |fleet: &mut Fleet| {
        let mut redis = fleet.redis.connect().await?;
        Ok(redis.flushall::<()>().await?)
    })
    .await?;
    under_load(&mut fleet, &uploads, "full", async |fleet: &mut Fleet| {
        let mut redis = fleet.redis.connect().await?;
        let mut limit = redis::cmd("CONFIG");
        limit.arg("SET").arg("maxmemory");
        limit.clone().arg("1mb").exec_async(&mut redis).await?;
        sleep(OUTAGE).await;
        Ok(limit.arg("0").exec_async(&mut redis).await?)
    })
    .await?;
    under_load(&mut fleet, &uploads, "killed", async |fleet: &mut Fleet| {
        fleet.redis.kill()?;
        sleep(OUTAGE).await;
        fleet.redis.start_again().await
    })
    .await?;
    under_load(&mut fleet, &uploads, "older", async |fleet: &mut Fleet| {
        let copy = fleet.redis.copy()?;
        // Long enough that what comes after is not in the copy.
        sleep(SOON).await;
        fleet.redis.kill()?;
        fleet.redis.restore(&copy)?;
        fleet.redis.start_again().await
    })
    .await?;
    fleet.settles(&uploads).await?;
    only_honest(&uploads)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_hangs_and_new_uploads_are_refused_while_those_in_flight_are_deferred() -> Result<()> {
    let mut fleet = Fleet::start(Store::Disk).await?;
    let uploads = Uploads::default();
    let client = fleet.alive(Kind::Ingest).next().expect("an ingest").client();
    uploads.send_once(&client, "before", 1000).await?.with_status(201)?;
    fleet.redis.hang()?;
    // Credits that were leased before are good for a moment still: what is admitted by them is deferred, and then nothing is admitted.
    let deadline = Instant::now() + DEADLINE;
    let refused = loop {
        let answer = uploads.send_once(&client, &format!("while/{}", uploads.count()), 1000).await?;
        if answer.status == 503 || Instant::now() > deadline {
            break answer;
        }
    };
    let problem = refused.with_status(503)?;
    ensure!(problem.json()?["reason"] == "queue", "{problem:?}");
    ensure!(!problem.header("retry-after").is_empty(), "{problem:?}");
    ensure!(uploads.deferred() > 0, "nothing was deferred: {:?}", uploads.others());
    fleet.redis.go_on()?;
    fleet.settles(&uploads).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_database_stops_at_once_hangs_is_locked_and_loses_connections() -> Result<()> {
    let mut fleet = Fleet::start(Store::Disk).await?;
    let uploads = Uploads::default();
    under_load(&mut fleet, &uploads, "stopped", async |fleet: &mut Fleet| {
        fleet.postgres.stop_at_once().await?;
        sleep(OUTAGE).await;
        fleet.postgres.restart().await
    })
    .await?;
    under_load(&mut fleet, &uploads, "hung", async |fleet: &mut Fleet| {
        fleet.postgres.signal(Signal::STOP)?;
        sleep(OUTAGE).await;
        fleet.postgres.signal(Signal::CONT)
    })
    .await?;
    under_load(&mut fleet, &uploads, "locked", async |fleet: &mut Fleet| {
        let hold = "BEGIN; LOCK TABLE ledger IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(10); COMMIT";
        fleet.postgres.say(&fleet.database, hold).await.map(drop)
    })
    .await?;
    under_load(&mut fleet, &uploads, "cut", async |fleet: &mut Fleet| {
        for _ in 0..5 {
            fleet.postgres.cut().await?;
            sleep(REST).await;
        }
        Ok(())
    })
    .await?;
    fleet.settles(&uploads).await?;
    only_honest(&uploads)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_fails_in_every_way() -> Result<()> {
    let mut fleet = Fleet::start(Store::S3).await?;
    let uploads = Uploads::default();
    let faults = [
        Fault::Status(500),
        Fault::Status(503),
        Fault::StatusAfterBody(500),
        Fault::ResetBeforeBody,
        Fault::ResetAfter(50_000),
        Fault::ResetAtTheEnd,
        Fault::LostAnswer,
        Fault::Silence,
        Fault::StallAfter(50_000),
    ];
    under_load(&mut fleet, &uploads, "broken", async |fleet: &mut Fleet| {
        for fault in faults {
            fleet.store.plan("PUT", "/o/", fault, 3);
            sleep(REST).await;
        }
        Ok(())
    })
    .await?;
    ensure!(fleet.store.left() == 0, "{} faults did not come to pass", fleet.store.left());
    // What was acknowledged is not lost because a gateway says so, of one object or of all there is.
    under_load(&mut fleet, &uploads, "denied", async |fleet: &mut Fleet| {
        for (within, times) in [("/o/", 1), ("/o/", 2), ("/o/", 4), ("", 20)] {
            fleet.store.plan("HEAD", within, Fault::Status(404), times);
            let left = async || Ok(fleet.store.left());
            until("an object to be denied", DEADLINE, left, |left| *left == 0).await?;
            // Whoever was denied one looks again, and is not to be denied it six times in a row: then it is lost.
            sleep(REST).await;
        }
        Ok(())
    })
    .await?;
    fleet.settles(&uploads).await?;
    only_honest(&uploads)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_process_is_stopped_and_started_under_load_and_nobody_sees_more_than_an_honest_503() -> Result<()>
{
    let mut fleet = Fleet::start(Store::S3).await?;
    let uploads = Uploads::default();
    // The clients know two of them; the one that comes in the place of the first is for those after them.
    fleet.add(Kind::Ingest, None).await?;
    under_load(&mut fleet, &uploads, "rolling", async |fleet: &mut Fleet| {
        for kind in [Kind::Ingest, Kind::Processor, Kind::Catalog] {
            fleet.add(kind, None).await?;
            let old = fleet.alive(kind).next().expect("the first one");
            old.stop().await?;
        }
        Ok(())
    })
    .await?;
    fleet.settles(&uploads).await?;
    only_honest(&uploads)
}

/// Lets clients upload while something happens.
async fn under_load(
    fleet: &mut Fleet,
    uploads: &Uploads,
    folder: &str,
    happens: impl AsyncFnOnce(&mut Fleet) -> Result<()>,
) -> Result<()> {
    let addresses: Vec<SocketAddr> = fleet.alive(Kind::Ingest).map(|node| node.listen()).collect();
    let mut clients = JoinSet::new();
    let end = Instant::now() + LOAD;
    for client in 0..CLIENTS {
        let (uploads, addresses, folder) = (uploads.clone(), addresses.clone(), folder.to_owned());
        clients.spawn(async move {
            for number in 0.. {
                let size = if number % 7 == 0 { 200_000 } else { 2000 };
                if !uploads.send(&addresses, &format!("{folder}/{client}/{number}"), size, end).await {
                    break;
                }
                sleep(Duration::from_millis(20)).await;
            }
        });
    }
    sleep(SOON).await;
    let before = uploads.count();
    happens(fleet).await?;
    clients.join_all().await;
    ensure!(before > 0, "nothing was acknowledged before the fault");
    if uploads.count() == before {
        let client = fleet.alive(Kind::Ingest).next().expect("an ingest").client();
        let again = async || Ok(uploads.send_once(&client, &format!("{folder}/again"), 100).await?.status);
        until(&format!("uploads to go on after {folder}"), DEADLINE, again, |status| *status == 201).await?;
    }
    Ok(())
}

/// Nobody was answered 5xx but an honest 503, or 4xx at all.
fn only_honest(uploads: &Uploads) -> Result<()> {
    let others = uploads.others();
    ensure!(others.keys().all(|status| *status == 503), "answers that are no honest 503: {others:?}");
    Ok(())
}
