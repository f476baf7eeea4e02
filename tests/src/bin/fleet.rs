//! `make fleet`: a whole fleet on this machine, to try it out. Everything it starts is private to it, and goes when it ends.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use headworks_tests::{
    Fleet, binary,
    fleet::{Kind, Shape, Store},
    servers::{nginx::Nginx, prometheus::Prometheus},
};
use tokio::signal::unix::{SignalKind, signal};

/// Where the balancer listens, like the embedded system.
const ADDRESS: &str = "127.0.0.1:8080";

/// Where Prometheus listens, if `PROMETHEUS` is set, and how often it looks.
const PROMETHEUS: (&str, &str) = ("127.0.0.1:9090", "5s");

/// How many there are of each kind.
const OF_EACH: usize = 2;

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let shape = Shape {
        binaries: binary::release_fleet()?,
        of_each: OF_EACH,
        store: Store::S3,
        settings: Vec::new(),
    };
    let mut fleet = Fleet::start_as(shape).await?;
    let addresses = |fleet: &mut Fleet, kind| fleet.alive(kind).map(|node| node.listen()).collect::<Vec<_>>();
    let (ingests, catalogs) = (addresses(&mut fleet, Kind::Ingest), addresses(&mut fleet, Kind::Catalog));
    let address = ADDRESS.parse().context("an address")?;
    let _nginx = Nginx::start(Some(address), &ingests, &catalogs).await?;
    let prometheus = match binary::environment("PROMETHEUS") {
        Some(_) => Some(Prometheus::start(Some(PROMETHEUS.0.parse()?), PROMETHEUS.1, &fleet.nodes).await?),
        None => None,
    };
    announce(&mut fleet, prometheus.as_ref());
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    fleet.stop().await?;
    Ok(ExitCode::SUCCESS)
}

/// Says where everything is, and how to try it.
#[expect(clippy::print_stdout, reason = "this is what a person who starts it wants to see")]
fn announce(fleet: &mut Fleet, prometheus: Option<&Prometheus>) {
    println!("nginx listens on http://{ADDRESS}, in front of:");
    for kind in [Kind::Ingest, Kind::Processor, Kind::Catalog] {
        for node in fleet.alive(kind) {
            println!("  headworks-{:10} operators: http://{}/healthz", kind.as_str(), node.admin());
        }
    }
    println!(
        "  Redis {}, PostgreSQL {}, S3 http://{}",
        fleet.redis.url(),
        fleet.postgres.address(),
        fleet.store.address()
    );
    if let Some(prometheus) = prometheus {
        println!("  Prometheus http://{}", prometheus.address());
        println!("    looks at whom {} names", prometheus.targets().display());
    }
    println!("Try it:  echo 'Hello, fleet' | curl -T - http://{ADDRESS}/v1/files/hello.txt");
    println!("         curl http://{ADDRESS}/v1/objects");
    println!("Operate it:  export {}", fleet.exports());
    println!("             target/release/headworks queue depth --config {}", fleet.settings().display());
    println!("             and so on with `audit`, `sweep`, `migrate` and `queue dead list`");
    println!("Ctrl-C stops all of it.");
}
