//! What SQLite's own store promises beyond the suite: its plans, its audit's eyes, its file.

mod contradictions;
mod file;
mod plans;

use std::{sync::Arc, time::Duration};

use super::{Options, SqliteMeta};
use crate::meta::Store;

crate::meta_conformance!(fresh);

const OPTIONS: Options = Options { pool: 4, acquire_timeout: Duration::from_secs(10) };

async fn fresh() -> (Arc<dyn Store>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (Arc::new(open(&folder)), folder)
}

fn open(folder: &tempfile::TempDir) -> SqliteMeta {
    SqliteMeta::open(&folder.path().join("headworks.db"), OPTIONS).unwrap()
}
