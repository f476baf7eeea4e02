//! What the store on a disk promises beyond the suite: its budget, its staged files, its folder.

mod budget;
mod folder;
mod staged;
mod streams;
mod through;

use std::{fs, sync::Arc, time::Duration};

use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::{DiskBlobs, Options, stage::STAGE};
use crate::{
    limits::Budget,
    storage::{Blobs, conformance::SMALL_BODY},
};

const FSYNC: Options = Options { fsync: true, small_body: SMALL_BODY };
const NONE: Options = Options { fsync: false, small_body: SMALL_BODY };

/// More than all tests hold at once.
const PLENTY: usize = 64 << 20;

/// The longest wait for a state.
const PATIENCE: Duration = Duration::from_secs(20);

mod with_fsync {
    crate::storage_conformance!(|| super::shared(super::FSYNC));
}

mod without_fsync {
    crate::storage_conformance!(|| super::shared(super::NONE));
}

async fn shared(options: Options) -> (Arc<dyn Blobs>, TempDir) {
    let (blobs, root) = fresh(options, &Budget::new(PLENTY));
    (Arc::new(blobs), root)
}

fn fresh(options: Options, budget: &Budget) -> (DiskBlobs, TempDir) {
    let root = tempfile::tempdir().unwrap();
    (DiskBlobs::open(root.path(), options, budget.clone()).unwrap(), root)
}

/// How many files are staged.
fn staged(root: &TempDir) -> usize {
    let shards = fs::read_dir(root.path().join(STAGE)).unwrap();
    shards.map(|shard| fs::read_dir(shard.unwrap().path()).unwrap().count()).sum()
}

/// Waits until `look` sees `wanted`: what was broken off is cleared away on threads, some time later.
async fn until<T: PartialEq + std::fmt::Debug>(what: &str, wanted: T, look: impl Fn() -> T) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let seen = look();
        if seen == wanted {
            return;
        }
        assert!(Instant::now() < deadline, "{what}: {seen:?}, not {wanted:?}");
        sleep(Duration::from_millis(2)).await;
    }
}
