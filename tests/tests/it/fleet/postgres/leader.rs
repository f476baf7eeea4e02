//! One of many leads, and the lead goes with the connection that holds it.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use headworks_shared::meta::{Leaders as _, postgres::PostgresMeta};
use headworks_tests::{
    DEADLINE,
    servers::{pgbouncer::PgBouncer, postgres::Postgres},
    until,
};

use super::{fresh, options};

/// The connection that holds a lock, and what it keeps from being cleaned up.
fn holder(database: &str, what: &str) -> String {
    format!(
        "SELECT {what} FROM pg_locks l JOIN pg_stat_activity a USING (pid)
        WHERE l.locktype = 'advisory' AND a.datname = '{database}'"
    )
}

async fn one_leads(
    one: &PostgresMeta,
    other: &PostgresMeta,
    postgres: &Postgres,
    database: &str,
) -> Result<()> {
    let lead = one.lead("sweeper").await?.context("nobody leads yet")?;
    ensure!(other.lead("sweeper").await?.is_none() && one.lead("sweeper").await?.is_none());
    ensure!(lead.stands().await);
    let snapshot = holder(database, "coalesce(a.backend_xmin::text, a.backend_xid::text, 'none')");
    ensure!(postgres.say(database, &snapshot).await? == ["none"], "it keeps rows from being cleaned up");
    drop(lead);
    let take = async || Ok(other.lead("sweeper").await?);
    let lead = until("the other to lead", DEADLINE, take, Option::is_some).await?.context("a lead")?;
    postgres.say(database, &holder(database, "pg_terminate_backend(a.pid)")).await?;
    until("the lead to be lost", DEADLINE, async || Ok(lead.stands().await), |stands| !stands).await?;
    let take = async || Ok(one.lead("sweeper").await?);
    let again = until("another to lead", DEADLINE, take, Option::is_some).await?.context("a lead")?;
    ensure!(again.stands().await && !lead.stands().await, "what was lost does not come back");
    Ok(())
}

#[tokio::test]
async fn one_of_two_leads_until_its_connection_is_gone() -> Result<()> {
    let (one, postgres, database) = fresh().await?;
    let other = PostgresMeta::open(&postgres.url(&database), &options()).await?;
    one_leads(&one, &other, &postgres, &database).await
}

#[tokio::test]
async fn one_of_two_leads_through_a_pgbouncer() -> Result<()> {
    let postgres = Postgres::shared().await?;
    let database = postgres.database().await?;
    let bouncer = PgBouncer::start(&Arc::clone(&postgres), 4).await?;
    let one = PostgresMeta::open(&bouncer.url(&database), &options()).await?;
    let other = PostgresMeta::open(&bouncer.url(&database), &options()).await?;
    one_leads(&one, &other, &postgres, &database).await
}

#[tokio::test]
async fn who_leads_keeps_no_connection_from_the_others() -> Result<()> {
    let postgres = Postgres::shared().await?;
    let database = postgres.database().await?;
    let options = headworks_shared::meta::postgres::Options { pool: 1, ..options() };
    let meta = PostgresMeta::open(&postgres.url(&database), &options).await?;
    let _lead = meta.lead("sweeper").await?.context("nobody leads yet")?;
    ensure!(headworks_shared::meta::Ledger::swept(&meta).await?.is_none());
    Ok(())
}
