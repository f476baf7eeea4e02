//! `headworks-processor`: drains the queue, beside others of its kind.

use std::{net::SocketAddr, process::ExitCode};

use headworks_shared::{
    config::Settings,
    process::{self, Process, Unusable},
    stack::{OpenError, Site, Stack},
};

/// jemalloc gives memory back after a burst; `.cargo/config.toml` sets it so.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

struct Part(Stack);

impl process::Part for Part {
    const NAME: &'static str = "headworks-processor";

    fn check(settings: &Settings) -> Result<(), Unusable> {
        headworks_processor::check(settings).map_err(Unusable::new)
    }

    fn admin(settings: &Settings) -> (&'static str, SocketAddr) {
        ("processor.admin", settings.processor.admin)
    }

    fn public(_: &Settings) -> Option<(&'static str, SocketAddr)> {
        None
    }

    async fn open(settings: &Settings, site: &Site) -> Result<Self, OpenError> {
        Stack::open(settings, site).await.map(Self)
    }

    fn start(self, settings: &Settings, process: &mut Process) -> anyhow::Result<()> {
        let Self(stack) = self;
        process.site.show_memory();
        headworks_processor::start(&stack, settings, &process.add("processor"))?;
        process.ops.started(&stack);
        Ok(())
    }
}

fn main() -> ExitCode {
    process::main::<Part>()
}
