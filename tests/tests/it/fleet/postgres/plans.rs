//! The plans of what the store really says, as the server itself logs them (`auto_explain`), with many uploads in the tables: no
//! question that is asked often reads a table that grows, and none sorts more than it answers.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use headworks_shared::{
    meta::{
        Attempt, Audit as _, Catalog as _, Ledger as _, Next, Outbox as _, Receiver, postgres::PostgresMeta,
    },
    model::{Scope, Timestamp, UploadId},
};
use headworks_tests::servers::postgres::Postgres;
use tokio::time::timeout;

use super::{AT, options, upload, uploads};

/// Uploads in the tables: enough for a scan to be the worse plan by far, which the planner knows by its own statistics.
const ENOUGH: u32 = 250_000;

/// The most that filling the tables may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// Of all uploads of one scope a fifth are versions of one path; and there are fifty thousand tombstones, a backlog of a hundred thousand
/// deliveries, and forty thousand batches. Rows are made in the order of their trees, as uploads come.
fn fill(uploads: u32) -> String {
    let paths = uploads - hot(uploads);
    format!(
        "CREATE FUNCTION upload_id(n bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS
            $$ SELECT (lpad(to_hex(1700000000000 + n), 12, '0') || '70008000' || lpad(to_hex(n), 12, '0'))::uuid $$;
        INSERT INTO scopes (org, project, objects, bytes) VALUES ('default', 'default', {uploads}, {uploads} * 10);
        INSERT INTO ledger (id, scope, at, size, state)
            SELECT upload_id(n), 1, 1, 10, 'stored' FROM generate_series(1, {uploads}) n;
        INSERT INTO objects (id, scope, version, size, stored_at, crc64nvme, path, content_type)
            SELECT l.id, 1, greatest(l.n - {paths}, 1), 10, 1, 1,
                CASE WHEN l.n > {paths} THEN 'hot/one' ELSE 'many/' || lpad(l.n::text, 8, '0') END, 'image/jpeg'
            FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM ledger) l;
        INSERT INTO tombstones (scope, path, version, id, stored_at, at)
            SELECT 1, 'gone/' || lpad(n::text, 8, '0'), 1, upload_id(n), 1, n FROM generate_series(1, 50000) n;
        INSERT INTO events (seq, time, upload, id, type, payload)
            SELECT row_number() OVER (ORDER BY id), 1, id, id, 'object.stored', '{{}}' FROM ledger;
        INSERT INTO unrelayed (events, time) SELECT 1, 1 FROM generate_series(1, 40000);
        INSERT INTO events (seq, time, upload, id, type, payload)
            SELECT batch << 20, 1, upload_id({uploads} + batch), upload_id({uploads} + batch), 'object.stored', '{{}}' FROM unrelayed;
        INSERT INTO receivers (url, pending) VALUES ('https://all.example/', 100000);
        INSERT INTO deliveries (event, receiver, seq, due) SELECT id, 1, seq, seq FROM events WHERE seq <= 100000;
        INSERT INTO delivery_log (event, receiver, number, at, took_ms, next)
            SELECT event, 1, 1, 1, 1, 'delivered' FROM deliveries;"
    )
}

/// How many versions the one path has.
const fn hot(uploads: u32) -> u32 {
    uploads / 5
}

const SETTINGS: [&str; 9] = [
    "fsync=off",
    "full_page_writes=off",
    "shared_buffers=1GB",
    "max_wal_size=8GB",
    "autovacuum=off",
    "session_preload_libraries=auto_explain",
    "auto_explain.log_min_duration=-1",
    "auto_explain.log_analyze=on",
    "log_line_prefix=said by %d: ",
];

/// Tables that grow with uploads, or with what waits.
const LARGE: [&str; 7] =
    ["ledger", "objects", "tombstones", "events", "unrelayed", "deliveries", "delivery_log"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_frequent_question_reads_a_table_or_sorts_it() -> Result<()> {
    plans(ENOUGH).await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes a minute; `make plans` runs it and shows the plans"]
async fn nor_with_a_million_uploads() -> Result<()> {
    for plan in plans(1_000_000).await? {
        println!("{plan}");
    }
    Ok(())
}

/// Asks everything, and looks at the plans of all.
async fn plans(uploads: u32) -> Result<Vec<String>> {
    let postgres = Postgres::start_with(&SETTINGS).await?;
    let database = postgres.database().await?;
    drop(PostgresMeta::open(&postgres.url(&database), &options()).await?);
    timeout(PATIENCE, postgres.say(&database, &fill(uploads))).await??;
    postgres.say(&database, "VACUUM ANALYZE").await?;
    postgres
        .say("postgres", &format!("ALTER DATABASE {database} SET auto_explain.log_min_duration = 0"))
        .await?;
    let meta = PostgresMeta::open(&postgres.url(&database), &options()).await?;
    let before = postgres.said().len();
    ask_everything(&meta, uploads).await?;
    let said = postgres.said();
    let said = said.get(before..).context("the log")?.split("said by ");
    let plans: Vec<_> = said.filter(|entry| entry.contains("plan:")).map(str::to_owned).collect();
    ensure!(plans.len() > 25, "only {} plans: {plans:#?}", plans.len());
    for plan in &plans {
        for table in LARGE {
            ensure!(!plan.contains(&format!("Seq Scan on {table} ")), "{plan}");
        }
        ensure!(most_rows(plan) <= 1100, "{plan}");
        ensure!(!plan.contains("Sort  (") || !plan.contains("Recursive Union"), "a listing sorts: {plan}");
    }
    Ok(plans)
}

/// The most rows that a node of the plan gave or looked at in vain.
fn most_rows(plan: &str) -> u64 {
    let number = |text: &str| {
        text.split(|one: char| !one.is_ascii_digit()).next().and_then(|digits| digits.parse().ok())
    };
    let actual = plan.lines().filter_map(|line| {
        let (_, behind) = line.split_once("(actual ")?;
        let rows: u64 = number(behind.split_once("rows=")?.1)?;
        let loops: u64 = number(behind.split_once("loops=")?.1)?;
        Some(rows * loops)
    });
    let removed =
        plan.lines().filter_map(|line| number(line.trim().strip_prefix("Rows Removed by Filter: ")?));
    actual.chain(removed).max().unwrap_or_default()
}

/// Every question that is asked often, of the many and of what is new.
async fn ask_everything(meta: &PostgresMeta, many: u32) -> Result<()> {
    let (scope, receiver) =
        (Scope::default(), Receiver { url: "https://all.example/".to_owned(), events: Vec::new() });
    let middle = "many/00100000".parse()?;
    ensure!(meta.list(&scope, "", None, 1000).await?.len() == 1000);
    ensure!(meta.list(&scope, "many/", Some(&middle), 100).await?.len() == 100);
    let page = meta.list(&scope, "hot/", None, 100).await?;
    ensure!(page.len() == 1 && page[0].version == u64::from(hot(many)), "{page:?}");
    ensure!(meta.versions(&scope, &"hot/one".parse()?, 100).await?.len() == 100);
    ensure!(meta.at_path(&scope, &middle).await?.is_some());
    ensure!(meta.usage(&scope).await?.objects == u64::from(many));
    let page = meta.ledger_page(None, 100).await?;
    let known: Vec<UploadId> = page.iter().map(|row| row.id).collect();
    ensure!(meta.find(&scope, known[50]).await?.is_some());
    ensure!(meta.ledger_page(Some(known[99]), 100).await?.len() == 100);
    ensure!(meta.states(&known).await?.iter().all(Option::is_some));

    let mut batch = uploads("many", 500);
    batch.extend((0..10).map(|_| upload("hot/one")));
    meta.persist(&batch, AT).await?;
    meta.persist(&batch, AT).await?;
    meta.delete(&scope, batch[3].id, None, AT).await?;
    ensure!(meta.unpurged(10).await?.len() == 1);
    meta.purged(&[batch[3].id]).await?;

    ensure!(meta.relay(std::slice::from_ref(&receiver), 300, AT).await? == 300);
    let due = meta.due(&receiver.url, 50, AT, Duration::ZERO).await?;
    let attempt = |delivery: &headworks_shared::meta::Delivery| Attempt {
        event: delivery.event,
        receiver: receiver.url.clone(),
        at: AT,
        status: None,
        error: None,
        took: Duration::ZERO,
        next: Next::Delivered,
    };
    meta.settle(&due.iter().map(attempt).collect::<Vec<_>>()).await?;
    ensure!(meta.backlog().await?.pending == 100_000 + 300 + 1000 - 50);
    ensure!(meta.log(20).await?.len() == 20);
    ensure!(meta.prune(Timestamp::from_unix_ms(0)).await? == 0);
    Ok(())
}
