//! A store that becomes slow: fewer uploads wait for it, and as many as before once it keeps up again.

use std::time::Duration;

use anyhow::{Result, ensure};
use headworks_tests::{
    Client, DEADLINE, Fleet, binary,
    fleet::{IMPATIENT, Kind, Shape, Store, Uploads},
    servers::fault::Fault,
    until,
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

/// The most uploads in flight, and the fewest.
const MOST: f64 = 96.0;
const LEAST: f64 = 4.0;

const CLIENTS: usize = 192;

/// Twice what it may take.
const SLOW: Duration = Duration::from_secs(2);

const LIMITS: [(&str, &str); 4] = [
    ("ingest.limits.streams", "96"),
    ("ingest.limits.streams_min", "4"),
    ("ingest.limits.store_within", "1s"),
    ("ingest.limits.hold", "500ms"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_becomes_slow_has_few_uploads_waiting_until_it_keeps_up_again() -> Result<()> {
    let binaries = binary::fleet()?;
    let mut fleet = Fleet::start_as(Shape {
        binaries,
        of_each: 1,
        store: Store::S3,
        settings: [&IMPATIENT[..], &LIMITS].concat(),
    })
    .await?;
    let uploads = Uploads::default();
    let ingest = fleet.alive(Kind::Ingest).next().expect("an ingest");
    let (client, address) = (ingest.client(), ingest.listen());
    let figure = async |fleet: &mut Fleet, name: &str| {
        let ingest = fleet.alive(Kind::Ingest).next().expect("an ingest");
        ingest.metrics().await?.sum(name, &[])
    };
    ensure!(uploads.send_once(&client, "slow/first", 2000).await?.status == 201);
    let limit = async || figure(&mut fleet, "headworks_uploads_limit").await;
    until("the limit to be told", DEADLINE, limit, |limit| *limit == MOST).await?;

    fleet.store.plan("PUT", "/o/", Fault::Slow(SLOW), 100_000);
    let end = Instant::now() + Duration::from_secs(25);
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let (uploads, client) = (uploads.clone(), Client::new(address));
        clients.spawn(async move {
            let mut turn = 0;
            while Instant::now() < end {
                turn += 1;
                uploads.send_once(&client, &format!("slow/{number}/{turn}"), 2000).await?;
                sleep(Duration::from_millis(200)).await;
            }
            anyhow::Ok(())
        });
    }
    let in_flight = async || figure(&mut fleet, "headworks_uploads_in_flight").await;
    until("uploads to wait for the store", DEADLINE, in_flight, |count| *count > MOST / 2.0).await?;
    let in_flight = async || figure(&mut fleet, "headworks_uploads_in_flight").await;
    until("few to wait for it", DEADLINE, in_flight, |count| *count <= 2.0 * LEAST).await?;
    let limit = async || figure(&mut fleet, "headworks_uploads_limit").await;
    until("few to be let in", DEADLINE, limit, |limit| *limit <= 2.0 * LEAST).await?;
    ensure!(Instant::now() < end, "the clients had ended before");
    ensure!(figure(&mut fleet, "headworks_refusals_total").await? > 0.0, "nobody was refused");
    while let Some(client) = clients.join_next().await {
        client??;
    }

    fleet.store.clear();
    let limit = async || figure(&mut fleet, "headworks_uploads_limit").await;
    until("as many as before", 3 * DEADLINE, limit, |limit| *limit == MOST).await?;
    ensure!(uploads.send_once(&client, "slow/last", 2000).await?.status == 201);
    let others = uploads.others();
    ensure!(others.keys().all(|status| *status == 503), "answers that are no honest 503: {others:?}");
    fleet.settles(&uploads).await
}
