//! Objects in a bucket of a real S3 server: all that every store promises.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use headworks_shared::{
    limits::Budget,
    shutdown::{Stop, Tasks},
    storage::{
        Blobs,
        cloud::{CloudBlobs, Options},
        conformance::SMALL_BODY,
    },
};
use headworks_tests::servers::s3::{BUCKET, S3, variables};

/// More than all bodies of a test together.
pub(super) const PLENTY: usize = 256 << 20;

/// The smallest part that S3 takes.
pub(super) const PART: usize = 5 << 20;

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

/// A store on a server of its own.
pub(super) async fn fresh(budget: &Budget) -> (CloudBlobs, S3) {
    let server = S3::start().await.unwrap();
    let store = CloudBlobs::open(&url(), options(server.address()), budget.clone()).await;
    (store.unwrap(), server)
}

async fn shared() -> (Arc<dyn Blobs>, S3) {
    let (store, server) = fresh(&Budget::new(PLENTY)).await;
    (Arc::new(store), server)
}

mod conformance {
    headworks_shared::storage_conformance!(super::shared);
}
