//! A process whose servers are not there yet waits for them, un-ready; one whose servers must not be used says why, and ends.

use anyhow::{Result, ensure};
use headworks_tests::{
    Fleet,
    fleet::{Kind, Store, Uploads},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_wait_unready_until_their_servers_are_there() -> Result<()> {
    let mut fleet = Fleet::servers(Store::Disk).await?;
    fleet.redis.kill()?;
    fleet.postgres.stop_at_once().await?;
    for kind in [Kind::Ingest, Kind::Processor, Kind::Catalog] {
        let begun = fleet.begin(kind, None).await?;
        let node = &fleet.nodes[begun];
        ensure!(node.readiness().await? == 503, "{kind:?} is ready without its servers");
        let alive = node.operators().get("/livez").send().await?;
        ensure!(alive.status == 200, "{kind:?} is to be started again: {alive:?}");
    }
    fleet.postgres.restart().await?;
    fleet.nodes[2].is_ready().await?;
    ensure!(fleet.nodes[0].readiness().await? == 503, "an ingest is ready without its queue");
    fleet.redis.start_again().await?;
    for node in &fleet.nodes {
        node.is_ready().await?;
    }
    let uploads = Uploads::default();
    let client = fleet.nodes[0].client();
    uploads.send_once(&client, "first", 1000).await?.with_status(201)?;
    fleet.settles(&uploads).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_ends_with_the_reason_when_redis_would_throw_jobs_away() -> Result<()> {
    let mut fleet = Fleet::servers(Store::Disk).await?;
    let mut redis = fleet.redis.connect().await?;
    redis::cmd("CONFIG").arg("SET").arg("maxmemory-policy").arg("allkeys-lru").exec_async(&mut redis).await?;
    for kind in [Kind::Ingest, Kind::Processor] {
        let said = match fleet.begin(kind, None).await {
            Ok(begun) => fleet.nodes[begun].gives_up().await?,
            // It was quicker than a look at it.
            Err(ended) => format!("{ended:#}"),
        };
        ensure!(said.contains("noeviction"), "{kind:?}: {said}");
    }
    Ok(())
}
