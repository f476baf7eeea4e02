//! Metadata in PostgreSQL: the whole suite, directly and through a PgBouncer, and what only many processes and a server that fails
//! can show.

mod away;
mod conformance;
mod contradictions;
mod held;
mod leader;
mod plans;
mod processes;
mod replica;
mod secret;
mod tables;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use headworks_shared::{
    meta::{
        Record,
        postgres::{Options, PostgresMeta},
    },
    model::{Crc64, Digests, Envelope, Priority, Scope, Seal, Timestamp, UploadId},
    resilience::{Guard, Rule},
};
use headworks_tests::servers::postgres::Postgres;

const AT: Timestamp = Timestamp::from_unix_ms(1_795_237_920_000);

/// As a processor has it, but sooner out of patience.
fn options() -> Options {
    Options {
        // It never opens: each call is made, and what comes of it is what is tested.
        guard: Guard::silent("database", Rule { calls: u32::MAX, ..Rule::DATABASE }),
        pool: 8,
        acquire_timeout: Duration::from_secs(5),
        statement_timeout: Duration::from_secs(10),
        replica: None,
        migrate: true,
    }
}

/// An empty store on the shared server.
async fn fresh() -> Result<(Arc<PostgresMeta>, Arc<Postgres>, String)> {
    let postgres = Postgres::shared().await?;
    let database = postgres.database().await?;
    let meta = PostgresMeta::open(&postgres.url(&database), &options()).await?;
    Ok((Arc::new(meta), postgres, database))
}

/// An upload of ten bytes; each has another id.
fn upload(path: &str) -> Record {
    static GIVEN: AtomicU64 = AtomicU64::new(0);
    let given = GIVEN.fetch_add(1, Ordering::Relaxed);
    let envelope = Envelope {
        scope: Scope::default(),
        path: path.parse().expect("a path"),
        content_type: None,
        priority: Priority::Normal,
        only_if_absent: false,
        marker: None,
        request_id: None,
        trace: None,
    };
    let digests = Digests { crc64nvme: Crc64(u64::MAX), sha256: None };
    let seal = Seal { size: 10, digests, sniffed_type: None };
    Record {
        id: UploadId::new(AT.after(Duration::from_millis(given)), [7; 10]),
        envelope,
        seal,
        failure: None,
    }
}

/// Uploads to paths that begin with `prefix`.
fn uploads(prefix: &str, count: usize) -> Vec<Record> {
    (0..count).map(|number| upload(&format!("{prefix}/{number}"))).collect()
}
