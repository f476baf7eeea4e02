//! `headworks-catalog`: the read side, beside others of its kind. It has nothing to do with the queue.

use std::{net::SocketAddr, process::ExitCode, sync::Arc};

use headworks_catalog::{Catalog, ROUTES};
use headworks_shared::{
    config::Settings,
    http::Front,
    process::{self, Process, Unusable},
    stack::{OpenError, Site, Stores},
};

/// jemalloc gives memory back after a burst; `.cargo/config.toml` sets it so.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

struct Part(Stores);

impl process::Part for Part {
    const NAME: &'static str = "headworks-catalog";

    fn check(_: &Settings) -> Result<(), Unusable> {
        Ok(())
    }

    fn admin(settings: &Settings) -> (&'static str, SocketAddr) {
        ("catalog.admin", settings.catalog.admin)
    }

    fn public(settings: &Settings) -> Option<(&'static str, SocketAddr)> {
        Some(("catalog.listen", settings.catalog.listen))
    }

    async fn open(settings: &Settings, site: &Site) -> Result<Self, OpenError> {
        Stores::open(settings, site).await.map(Self)
    }

    fn start(self, _: &Settings, process: &mut Process) -> anyhow::Result<()> {
        let Self(stores) = self;
        process.site.show_memory();
        let front = Front::new(Catalog::new(&stores), ROUTES, &stores.clock, &stores.registry);
        process.listen(Arc::new(front))?;
        process.ops.started(&stores);
        Ok(())
    }
}

fn main() -> ExitCode {
    process::main::<Part>()
}
