//! Three minutes of everything at once (`make soak`): a hundred clients, and processes and servers that die, hang and come back, all
//! from a printed seed.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result, ensure};
use fastrand::Rng;
use headworks_tests::{
    Fleet,
    fleet::{Kind, Store, Uploads},
    seed::seed,
    servers::fault::Fault,
};
use rustix::process::Signal;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

const CLIENTS: u64 = 100;

const LONG: Duration = Duration::from_secs(180);

/// The longest rest between two faults.
const REST_MS: u64 = 4000;

/// How the store may fail.
const STORE_FAULTS: [Fault; 9] = [
    Fault::Status(500),
    Fault::Status(503),
    Fault::StatusAfterBody(500),
    Fault::ResetBeforeBody,
    Fault::ResetAfter(5000),
    Fault::ResetAtTheEnd,
    Fault::LostAnswer,
    Fault::Silence,
    Fault::StallAfter(5000),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes; `make soak` runs it"]
async fn everything_fails_in_turn_and_nothing_is_lost() -> Result<()> {
    let mut random = Rng::with_seed(seed()?);
    let mut fleet = Fleet::start(Store::S3).await?;
    for kind in [Kind::Ingest, Kind::Processor] {
        fleet.add(kind, None).await?;
    }
    let uploads = Uploads::default();
    let end = Instant::now() + LONG;
    let mut clients = JoinSet::new();
    let mut addresses: Vec<SocketAddr> = Vec::new();
    let mut begun = 0;
    while Instant::now() < end {
        addresses.clear();
        addresses.extend(fleet.alive(Kind::Ingest).map(|node| node.listen()));
        // Clients that were sent to a process that is gone have ended; others come in their place.
        while clients.try_join_next().is_some() {}
        for _ in clients.len() as u64..CLIENTS {
            begun += 1;
            clients.spawn(client(uploads.clone(), addresses.clone(), random.fork(), begun, end));
        }
        sleep(Duration::from_millis(random.u64(..REST_MS))).await;
        let what = fail(&mut fleet, &mut random).await?;
        eprintln!(
            "{:>4} s: {} acknowledged, {what}",
            LONG.as_secs() - end.saturating_duration_since(Instant::now()).as_secs(),
            uploads.count()
        );
    }
    clients.join_all().await;
    fleet.settles(&uploads).await?;
    let others = uploads.others();
    eprintln!("{} uploads acknowledged, {} deferred, others {others:?}", uploads.count(), uploads.deferred());
    ensure!(others.keys().all(|status| *status == 503), "answers that are no honest 503: {others:?}");
    Ok(())
}

/// One upload after the other, until one is not acknowledged in time.
async fn client(uploads: Uploads, addresses: Vec<SocketAddr>, mut random: Rng, client: u64, end: Instant) {
    for number in 0.. {
        let size = if random.u8(..20) == 0 { random.usize(..1 << 20) } else { random.usize(..20_000) };
        let patience = end.min(Instant::now() + Duration::from_secs(20));
        if !uploads.send(&addresses, &format!("{client}/{number}"), size, patience).await {
            return;
        }
        sleep(Duration::from_millis(random.u64(..200))).await;
    }
}

/// Lets something fail, and come back.
async fn fail(fleet: &mut Fleet, random: &mut Rng) -> Result<&'static str> {
    let moment = Duration::from_millis(random.u64(200..3000));
    Ok(match random.u8(..12) {
        0 => fleet.replace(Kind::Ingest).await.map(|()| "an ingest was killed")?,
        1 | 2 => fleet.replace(Kind::Processor).await.map(|()| "a processor was killed")?,
        3 => {
            let mut redis = fleet.redis.connect().await?;
            redis::cmd("FLUSHALL").exec_async(&mut redis).await.context("empty Redis")?;
            "Redis was emptied"
        }
        4 => {
            fleet.redis.kill()?;
            sleep(moment).await;
            fleet.redis.start_again().await?;
            "Redis was killed"
        }
        5 => {
            fleet.redis.hang()?;
            sleep(moment).await;
            fleet.redis.go_on()?;
            "Redis hung"
        }
        6 => {
            fleet.postgres.stop_at_once().await?;
            sleep(moment).await;
            fleet.postgres.restart().await?;
            "PostgreSQL stopped at once"
        }
        7 => {
            fleet.postgres.signal(Signal::STOP)?;
            sleep(moment).await;
            fleet.postgres.signal(Signal::CONT)?;
            "PostgreSQL hung"
        }
        8 | 9 => {
            let fault = STORE_FAULTS[random.usize(..STORE_FAULTS.len())];
            let method = if random.bool() { "PUT" } else { "HEAD" };
            fleet.store.plan(method, "/o/", fault, random.usize(1..50));
            "the store failed"
        }
        10 => {
            fleet.postgres.cut().await?;
            "PostgreSQL's connections were cut"
        }
        _ => fleet.replace(Kind::Catalog).await.map(|()| "a catalog was killed")?,
    })
}
