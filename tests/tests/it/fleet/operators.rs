//! The commands of operators, beside a fleet that has work to do.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use headworks_tests::{
    DEADLINE, Fleet,
    fleet::{Kind, Store, Uploads},
    until,
};
use tokio::time::Instant;

/// When `audit` and `sweep` judge an object, with the short waits of a fleet under test.
const SETTLED: Duration = Duration::from_secs(4);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_work_beside_jobs_that_wait() -> Result<()> {
    let mut fleet = Fleet::servers(Store::Disk).await?;
    fleet.add(Kind::Ingest, None).await?;
    let (uploads, client) = (Uploads::default(), fleet.nodes[0].client());
    for path in ["a", "b", "c"] {
        uploads.send_once(&client, path, 1000).await?.with_status(201)?;
    }
    let begun = Instant::now();
    let age = async || Ok(begun.elapsed());
    until("the uploads to be old enough to be judged", DEADLINE, age, |age| *age > SETTLED).await?;
    fleet.operate("migrate", &[])?;
    for round in ["before the sweep", "after the sweep"] {
        let depth = fleet.operate("queue", &["depth"])?;
        let line =
            depth.lines().find(|line| line.starts_with("normal")).context("a line for each priority")?;
        ensure!(line.ends_with(" 3 in line, 0 delayed"), "{round}: {depth}");
        ensure!(fleet.operate("queue", &["dead", "list"])?.is_empty());
        let audit = fleet.operate("audit", &["--deep"])?;
        ensure!(audit == "3 objects and 0 ledger rows: 0 findings\n", "{round}: {audit}");
        let sweep = fleet.operate("sweep", &["--once"])?;
        ensure!(sweep.starts_with("3 objects looked up, "), "{round}: {sweep}");
    }
    fleet.settles(&uploads).await
}
