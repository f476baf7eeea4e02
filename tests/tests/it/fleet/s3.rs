//! Objects in a bucket of a real S3 server: all that every store promises.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use headworks_shared::{
    limits::Budget,
    shutdown::{Stop, Tasks},
    storage::{
        Blobs, Key,
        cloud::{CloudBlobs, Options},
        conformance::SMALL_BODY,
    },
};
use headworks_tests::{
    DEADLINE,
    servers::{
        fault::Proxy,
        s3::{BUCKET, S3, variables},
    },
    until,
};

/// More than all bodies of a test together.
pub(super) const PLENTY: usize = 256 << 20;

/// The smallest part that S3 takes.
pub(super) const PART: usize = 5 << 20;

/// The object that says that there is a store.
pub(super) const SENTINEL: &str = "some/prefix/headworks-store";

/// How a test's store is opened: with small limits and short waits.
pub(super) fn options(address: SocketAddr) -> Options {
    let mut options = Options::new(variables(address), Tasks::new(Stop::new()));
    options.small_body = SMALL_BODY;
    options.part_size = PART;
    options.streams = 64;
    options.connect = Duration::from_secs(2);
    options.answer = Duration::from_secs(5);
    options.complete = Duration::from_secs(10);
    options.stall = Duration::from_secs(2);
    options
}

pub(super) fn url() -> String {
    format!("s3://{BUCKET}/some/prefix")
}

/// A store on a server of its own, with a proxy between them that breaks what it is told to.
pub(super) struct Broken {
    pub(super) store: CloudBlobs,
    pub(super) proxy: Proxy,
    pub(super) server: S3,
    pub(super) budget: Budget,
    pub(super) tasks: Tasks,
}

impl Broken {
    pub(super) async fn start() -> Result<Self> {
        Self::with(|_| ()).await
    }

    pub(super) async fn with(set: impl FnOnce(&mut Options)) -> Result<Self> {
        let (server, budget) = (S3::start().await?, Budget::new(PLENTY));
        let proxy = Proxy::start(server.address()).await?;
        let mut options = options(proxy.address());
        set(&mut options);
        let tasks = options.tasks.clone();
        let store = CloudBlobs::open(&url(), options, budget.clone()).await?;
        proxy.clear();
        Ok(Self { store, proxy, server, budget, tasks })
    }

    /// What must hold after anything: nothing leased, nothing at work, nothing half there; and these objects in the bucket, beside the
    /// store's own.
    pub(super) async fn assert_clean(&self, keys: &[&Key]) -> Result<()> {
        let at_rest = async || Ok((self.budget.used_bytes(), self.tasks.len(), self.server.unfinished()?));
        until("the store to come to rest", DEADLINE, at_rest, |state| *state == (0, 0, 0)).await?;
        let mut wanted: Vec<_> = keys.iter().map(|key| format!("some/prefix/{key}")).collect();
        wanted.push(SENTINEL.to_owned());
        wanted.sort();
        ensure!(self.server.objects()? == wanted, "{:?} instead of {wanted:?}", self.server.objects()?);
        Ok(())
    }
}

#[expect(clippy::panic, reason = "the suite takes no error")]
async fn fresh() -> (Arc<dyn Blobs>, S3) {
    let opened = async {
        let server = S3::start().await?;
        let store = CloudBlobs::open(&url(), options(server.address()), Budget::new(PLENTY)).await?;
        anyhow::Ok((Arc::new(store) as Arc<dyn Blobs>, server))
    };
    opened.await.unwrap_or_else(|error| panic!("no store: {error:#}"))
}

mod conformance {
    headworks_shared::storage_conformance!(super::fresh);
}
