//! `kill -9` of each process at each point of an upload's way: nothing that was acknowledged is lost, and nothing is there twice.

use std::time::Duration;

use anyhow::{Context as _, Result};
use headworks_shared::fault::Point;
use headworks_tests::{
    Fleet,
    fleet::{Kind, Store, Uploads},
};
use tokio::{task::JoinSet, time::Instant};

/// How many uploads are on their way when a process dies.
const UPLOADS: usize = 24;

/// How long a client goes on.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ingest_dies_at_every_point() -> Result<()> {
    let mut fleet = Fleet::start(Store::S3).await?;
    let uploads = Uploads::default();
    for point in [Point::AfterMarker, Point::AfterBody, Point::AfterPush] {
        let doomed = fleet.add(Kind::Ingest, Some((point, 3))).await?;
        // Half of them go to the one that dies first, and all can go to the other.
        let addresses: Vec<_> = fleet.alive(Kind::Ingest).map(|node| node.listen()).collect();
        upload(&uploads, point.as_str(), &addresses).await.context(point.as_str())?;
        fleet.nodes[doomed].dies().await.context(point.as_str())?;
    }
    fleet.settles(&uploads).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_processor_dies_at_every_point() -> Result<()> {
    let mut fleet = Fleet::start(Store::S3).await?;
    let uploads = Uploads::default();
    let points =
        [Point::AfterClaim, Point::BeforeCommit, Point::AfterCommit, Point::AfterDone, Point::AfterDelivery];
    for point in points {
        let others: Vec<_> = fleet.alive(Kind::Processor).collect();
        for other in others {
            other.stop().await?;
        }
        let doomed = fleet.add(Kind::Processor, Some((point, 1))).await?;
        let addresses: Vec<_> = fleet.alive(Kind::Ingest).map(|node| node.listen()).collect();
        upload(&uploads, point.as_str(), &addresses).await.context(point.as_str())?;
        fleet.nodes[doomed].dies().await.context(point.as_str())?;
        fleet.add(Kind::Processor, None).await?;
    }
    fleet.settles(&uploads).await
}

/// Sends uploads at once until all are acknowledged.
async fn upload(uploads: &Uploads, folder: &str, addresses: &[std::net::SocketAddr]) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    let mut clients = JoinSet::new();
    for number in 0..UPLOADS {
        let (uploads, path) = (uploads.clone(), format!("{folder}/{number}"));
        let mut addresses = addresses.to_vec();
        let first = number % addresses.len().max(1);
        addresses.rotate_left(first);
        let size = if number % 5 == 0 { 300_000 } else { 1000 + number };
        clients.spawn(async move { uploads.send(&addresses, &path, size, until).await });
    }
    let sent = clients.join_all().await;
    anyhow::ensure!(sent.iter().all(|sent| *sent), "not acknowledged in time: {:?}", uploads.others());
    Ok(())
}
