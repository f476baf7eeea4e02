//! Brings the tables up to date: each migration in a transaction of its own, under a lock that lasts as long as it, so that of many
//! processes that start at once one runs it and the others find it done.

use std::time::Duration;

use deadpool_postgres::ClientWrapper;

use super::{OpenError, fault::Fault, locks, server::Server, transaction::Deadline};

/// Each takes the tables from its place to the next version.
const MIGRATIONS: &[&str] = &[include_str!("migrations/0001_metadata.sql")];

/// How long one migration may take, the wait for others' included: some go through whole tables.
const TIMEOUT: Duration = Duration::from_secs(3600);

const TABLE: &str = "CREATE TABLE IF NOT EXISTS headworks_migrations (
    version bigint NOT NULL PRIMARY KEY,
    at      timestamptz NOT NULL DEFAULT now())";

const HAS_TABLE: &str = "SELECT to_regclass('headworks_migrations') IS NOT NULL";

const VERSION: &str = "SELECT coalesce(max(version), 0) FROM headworks_migrations";

/// Runs what has not been run yet.
pub(super) async fn migrate(server: &Server) -> Result<(), OpenError> {
    let connection = server.connection().await?;
    loop {
        match version(&connection).await? {
            known if known == MIGRATIONS.len() => return Ok(()),
            newer if newer > MIGRATIONS.len() => return Err(newer_than_this(newer)),
            _ => step(&connection).await?,
        }
    }
}

/// Makes sure that the tables are those that are expected.
pub(super) async fn check(server: &Server) -> Result<(), OpenError> {
    match version(&server.connection().await?).await? {
        known if known == MIGRATIONS.len() => Ok(()),
        newer if newer > MIGRATIONS.len() => Err(newer_than_this(newer)),
        found => Err(OpenError::Older { found, known: MIGRATIONS.len() }),
    }
}

fn newer_than_this(found: usize) -> OpenError {
    OpenError::Newer { found, known: MIGRATIONS.len() }
}

async fn version(connection: &ClientWrapper) -> Result<usize, Fault> {
    let deadline = Deadline::within(TIMEOUT);
    let there = deadline.wait(connection.query_typed_one(HAS_TABLE, &[])).await?;
    if !there.try_get::<_, bool>(0)? {
        return Ok(0);
    }
    let version = deadline.wait(connection.query_typed_one(VERSION, &[])).await?;
    usize::try_from(version.try_get::<_, i64>(0)?).map_err(Fault::row)
}

/// Runs the next migration, unless another process has run it since. The connection is closed by whoever fails, which undoes it.
async fn step(connection: &ClientWrapper) -> Result<(), Fault> {
    let deadline = Deadline::within(TIMEOUT);
    let say = |sql: String| async move { deadline.wait(connection.batch_execute(&sql)).await };
    say(format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL statement_timeout = {}; SET LOCAL lock_timeout = 0; \
         SELECT pg_advisory_xact_lock({})",
        TIMEOUT.as_millis(),
        locks::of_migrations()
    ))
    .await?;
    say(TABLE.to_owned()).await?;
    let done = version(connection).await?;
    if let Some(migration) = MIGRATIONS.get(done) {
        let note = format!("INSERT INTO headworks_migrations (version) VALUES ({})", done + 1);
        say(format!("{migration}; {note}")).await?;
    }
    say("COMMIT".to_owned()).await
}
