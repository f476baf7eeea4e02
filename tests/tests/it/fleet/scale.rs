//! Processors that are added, stopped, killed and hung under load: the queue drains by whoever is there, and nothing is lost or done twice.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use headworks_shared::fault::Point;
use headworks_tests::{
    DEADLINE, Fleet, binary,
    fleet::{IMPATIENT, Kind, Shape, Store, Uploads},
    until,
};
use rustix::process::Signal;
use tokio::{task::JoinSet, time::Instant};

/// Clients that send one upload after the other.
const CLIENTS: usize = 8;

/// How many uploads are acknowledged between one change and the next.
const STEP: usize = 80;

/// How long a processor answers for what it claimed, as [`IMPATIENT`] has it.
const LEASE: Duration = Duration::from_secs(3);

/// Clients at work, each upload again and again until it is acknowledged.
struct Load {
    uploads: Uploads,
    stop: Arc<AtomicBool>,
    clients: JoinSet<bool>,
}

impl Load {
    fn start(ingests: Vec<SocketAddr>) -> Self {
        let (uploads, stop) = (Uploads::default(), Arc::new(AtomicBool::new(false)));
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            let (uploads, stop, ingests) = (uploads.clone(), Arc::clone(&stop), ingests.clone());
            clients.spawn(async move {
                let mut sent = true;
                for turn in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let until = Instant::now() + 3 * DEADLINE;
                    sent &= uploads.send(&ingests, &format!("{client}/{turn}"), 1000, until).await;
                }
                sent
            });
        }
        Self { uploads, stop, clients }
    }

    /// Waits until so many more were acknowledged.
    async fn goes_on(&self) -> Result<()> {
        let (before, look) = (self.uploads.count(), async || Ok(self.uploads.count()));
        until("the load to go on", 3 * DEADLINE, look, |count| *count >= before + STEP).await.map(drop)
    }

    async fn stop(self) -> Result<Uploads> {
        self.stop.store(true, Ordering::Relaxed);
        let all = self.clients.join_all().await;
        ensure!(all.iter().all(|sent| *sent), "uploads were not acknowledged: {:?}", self.uploads.others());
        Ok(self.uploads)
    }
}

/// How many uploads a processor has stored.
async fn done(fleet: &Fleet, node: usize) -> Result<f64> {
    fleet.nodes[node].metrics().await?.sum("headworks_jobs_total", &[("outcome", "stored")])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_two_and_four_processors_come_and_go_and_nothing_is_lost_or_done_twice() -> Result<()> {
    let mut fleet = Fleet::start(Store::Disk).await?;
    let load = Load::start(fleet.alive(Kind::Ingest).map(|node| node.listen()).collect());
    load.goes_on().await?;
    let mut added = Vec::new();
    for more in [1, 2] {
        for _ in 0..more {
            added.push(fleet.add(Kind::Processor, None).await?);
        }
        load.goes_on().await?;
    }
    for node in &added {
        let share = async || done(&fleet, *node).await;
        until("each of four to have its share", DEADLINE, share, |done| *done > 0.0).await?;
    }
    // One hangs for longer than its leases last, and goes on as if nothing had been; one is killed; two are stopped.
    fleet.nodes[added[0]].signal(Signal::STOP)?;
    let hung = Instant::now();
    fleet.nodes[added[1]].kill()?;
    load.goes_on().await?;
    fleet.nodes[added[2]].stop().await?;
    let lapsed = async || Ok(hung.elapsed());
    until("leases to lapse", DEADLINE, lapsed, |elapsed| *elapsed > LEASE).await?;
    fleet.nodes[added[0]].signal(Signal::CONT)?;
    load.goes_on().await?;
    fleet.nodes[added[0]].stop().await?;
    let uploads = load.stop().await?;
    fleet.settles(&uploads).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leases_of_a_dead_processor_are_taken_over_when_they_lapse() -> Result<()> {
    let mut fleet = Fleet::start(Store::Disk).await?;
    let load = Load::start(fleet.alive(Kind::Ingest).map(|node| node.listen()).collect());
    let doomed = fleet.begin(Kind::Processor, Some((Point::AfterClaim, 1))).await?;
    fleet.nodes[doomed].dies().await?;
    let died = Instant::now();
    let uploads = load.stop().await?;
    // Not the queue's depth: what ingest tells of that may be of before.
    let catalog = fleet.alive(Kind::Catalog).next().context("a catalog")?.client();
    let missing = async || uploads.missing(&catalog).await;
    until("every acknowledged upload to have its row", 2 * DEADLINE, missing, Vec::is_empty).await?;
    let took = died.elapsed();
    ensure!(took > LEASE.mul_f64(0.8), "after {took:?} nothing was left to be taken over");
    ensure!(took < LEASE + DEADLINE, "taken over after {took:?}, with leases of {LEASE:?}");
    fleet.settles(&uploads).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_processor_that_is_stopped_leaves_no_job_to_wait_for_its_lease() -> Result<()> {
    let settings = [&IMPATIENT[..], &[("queue.lease", "10m")]].concat();
    let shape = Shape { binaries: binary::fleet()?, of_each: 1, store: Store::Disk, settings };
    let mut fleet = Fleet::start_as(shape).await?;
    let load = Load::start(fleet.alive(Kind::Ingest).map(|node| node.listen()).collect());
    for _ in 0..2 {
        let next = fleet.add(Kind::Processor, None).await?;
        load.goes_on().await?;
        let before = fleet.alive(Kind::Processor).next().context("a processor")?;
        before.stop().await?;
        let share = async || done(&fleet, next).await;
        until("the next one to have its share", DEADLINE, share, |done| *done > 0.0).await?;
    }
    let uploads = load.stop().await?;
    // The last one waits for jobs when it is told to stop, and gets some in that moment.
    let client = fleet.alive(Kind::Ingest).next().context("an ingest")?.client();
    let last = fleet.alive(Kind::Processor).next().context("a processor")?;
    let late = (0..CLIENTS).map(|number| {
        let (client, uploads) = (&client, &uploads);
        async move { uploads.send_once(client, &format!("late/{number}"), 1000).await?.with_status(201) }
    });
    let (stopped, sent) = tokio::join!(last.stop(), try_join_all(late));
    stopped.and(sent)?;
    // What is left with whom is gone would have no row for ten minutes: longer than this waits.
    fleet.settles(&uploads).await
}
