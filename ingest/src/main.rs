//! `headworks-ingest`: takes uploads in, beside others of its kind.

use std::{net::SocketAddr, process::ExitCode, sync::Arc};

use headworks_ingest::{Ingest, ROUTES};
use headworks_shared::{
    config::Settings,
    http::Front,
    process::{self, Process, Scheduling, Unusable},
    stack::{OpenError, Site, Stack},
};

/// jemalloc gives memory back after a burst, so that the memory gate opens again; `.cargo/config.toml` sets it so.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

struct Part(Stack);

impl process::Part for Part {
    const NAME: &'static str = "headworks-ingest";

    const SCHEDULING: Scheduling = Scheduling::InTurn;

    fn check(_: &Settings) -> Result<(), Unusable> {
        Ok(())
    }

    fn admin(settings: &Settings) -> (&'static str, SocketAddr) {
        ("ingest.admin", settings.ingest.admin)
    }

    fn public(settings: &Settings) -> Option<(&'static str, SocketAddr)> {
        Some(("ingest.listen", settings.ingest.listen))
    }

    async fn open(settings: &Settings, site: &Site) -> Result<Self, OpenError> {
        Stack::open(settings, site).await.map(Self)
    }

    fn start(self, settings: &Settings, process: &mut Process) -> anyhow::Result<()> {
        let Self(stack) = self;
        let intake = process.add_intake();
        let ingest = Ingest::start(&stack, settings, process.gate.clone(), &process.site.budget, &intake);
        Ingest::hear_from_the_ledger(&stack, &intake);
        let front = Front::new(ingest, ROUTES, &stack.clock, &stack.registry);
        process.listen(Arc::new(front))?;
        process.ops.started(&stack);
        Ok(())
    }
}

fn main() -> ExitCode {
    process::main::<Part>()
}
