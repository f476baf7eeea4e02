//! Measures how fast uploads become rows in PostgreSQL, with ledger, object, usage and outbox written:
//! `cargo run --release -p headworks-tests --example persist`.
//!
//! A server of its own that syncs; each round has an empty database. A line says uploads a second, and the processor time that
//! client and server used for each upload.

#![expect(clippy::print_stdout, reason = "the figures are what it is for")]

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use headworks_shared::{
    meta::{
        Audit as _, Ledger as _, Record,
        postgres::{Options, PostgresMeta},
    },
    model::{Crc64, Digests, Envelope, Priority, Scope, Seal, Sha256Digest, Timestamp, UploadId},
    resilience::{Guard, Rule},
};
use headworks_tests::servers::{
    pgbouncer::PgBouncer,
    postgres::{Postgres, cpu_of},
};
use tokio::{sync::Mutex, task::JoinSet, time::Instant};

const UPLOADS: u64 = 50_000;
const BATCH: usize = 500;
const AT: Timestamp = Timestamp::from_unix_ms(1_795_237_920_000);

/// As a server of its own would be set; the rest is as it comes.
const SETTINGS: [&str; 4] =
    ["shared_buffers=512MB", "max_wal_size=8GB", "checkpoint_timeout=15min", "wal_compression=on"];

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let postgres = Arc::new(Postgres::start_with(&SETTINGS).await?);
    let bouncer = PgBouncer::start(&postgres, 8).await?;
    println!("| uploads/s | client µs | server µs | writers | scopes | paths | way |");
    println!("|---|---|---|---|---|---|---|");
    for (writers, scopes, paths, bounced) in [
        (1, 1, UPLOADS, false),
        (4, 1, UPLOADS, false),
        (1, 50, UPLOADS, false),
        (4, 50, UPLOADS, false),
        (4, 1, 200, false),
        (1, 1, UPLOADS, true),
        (4, 1, UPLOADS, true),
    ] {
        let database = postgres.database().await?;
        let url = if bounced { bouncer.url(&database) } else { postgres.url(&database) };
        let line = round(&postgres, &url, writers, scopes, paths).await?;
        println!("| {line} | {} |", if bounced { "PgBouncer" } else { "direct" });
    }
    Ok(())
}

async fn round(postgres: &Postgres, url: &str, writers: u64, scopes: u64, paths: u64) -> Result<String> {
    let second = Duration::from_secs(1);
    let options = Options {
        guard: Guard::silent("database", Rule::DATABASE),
        pool: 8,
        acquire_timeout: 5 * second,
        statement_timeout: 60 * second,
        replica: None,
        migrate: true,
    };
    let meta = Arc::new(PostgresMeta::open(url, &options).await?);
    let records: Vec<_> = (0..UPLOADS).map(|number| record(number, scopes, paths)).collect();
    let batches: Vec<Vec<_>> = records.chunks(BATCH).map(<[_]>::to_vec).collect();
    let batches = Arc::new(Mutex::new(batches));
    let me = rustix::process::getpid();
    let (began, client, server) = (Instant::now(), cpu_of(me), postgres.cpu()?);
    let mut tasks = JoinSet::new();
    for _ in 0..writers {
        let (meta, batches) = (Arc::clone(&meta), Arc::clone(&batches));
        tasks.spawn(async move {
            loop {
                let Some(batch) = batches.lock().await.pop() else { return anyhow::Ok(()) };
                meta.persist(&batch, AT).await?;
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    let took = began.elapsed();
    let (client, server) = (cpu_of(me).saturating_sub(client), postgres.cpu()?.saturating_sub(server));
    let wrong = meta.contradictions().await?;
    anyhow::ensure!(wrong.is_empty(), "{wrong:?}");
    let each = |cpu: Duration| cpu.as_micros() / u128::from(UPLOADS);
    let rate = u128::from(UPLOADS) * 1_000_000 / took.as_micros().max(1);
    Ok(format!("{rate} | {} | {} | {writers} | {scopes} | {paths}", each(client), each(server)))
}

fn record(number: u64, scopes: u64, paths: u64) -> Record {
    let mut random = [0; 10];
    random[2..].copy_from_slice(&fastrand::u64(..).to_be_bytes());
    let scope = Scope::new("acme", &format!("project-{}", number % scopes)).unwrap_or_default();
    let path = format!("2026/11/21/camera-{}/picture-{:08}.jpg", number % 7, number % paths);
    let envelope = Envelope {
        scope,
        path: path.parse().unwrap_or_else(|error| unreachable!("{error}")),
        content_type: Some("image/jpeg".to_owned()),
        priority: Priority::Normal,
        only_if_absent: false,
        marker: None,
        request_id: None,
        trace: None,
    };
    let digests = Digests { crc64nvme: Crc64(number), sha256: Some(Sha256Digest([7; 32])) };
    let seal = Seal { size: 10_240, digests, sniffed_type: Some("image/jpeg".to_owned()) };
    Record {
        id: UploadId::new(AT.after(Duration::from_millis(number / 20)), random),
        envelope,
        seal,
        failure: None,
    }
}
