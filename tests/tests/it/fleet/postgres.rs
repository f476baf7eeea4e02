//! Metadata in PostgreSQL: the whole suite, directly and through a PgBouncer, and what only many processes and a server far away
//! can show.

mod conformance;

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use headworks_shared::meta::postgres::{Options, PostgresMeta};
use headworks_tests::servers::postgres::Postgres;

/// As a processor has it, but sooner out of patience.
fn options() -> Options {
    Options {
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
