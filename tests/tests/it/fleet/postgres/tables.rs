//! The tables: who makes them, and who refuses them.

use anyhow::{Context as _, Result, ensure};
use headworks_shared::{
    meta::{
        Error, Ledger as _,
        postgres::{OpenError, Options, PostgresMeta, migrate},
    },
    report::Report,
};
use headworks_tests::servers::{pgbouncer::PgBouncer, postgres::Postgres};
use tokio::task::JoinSet;

use super::{AT, options, upload};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_processes_that_start_at_once_one_makes_the_tables() -> Result<()> {
    let postgres = Postgres::shared().await?;
    let bouncer = PgBouncer::start(&postgres, 20).await?;
    let database = postgres.database().await?;
    let mut tasks = JoinSet::new();
    for number in 0..12 {
        let url = if number % 3 == 0 { bouncer.url(&database) } else { postgres.url(&database) };
        tasks.spawn(async move { PostgresMeta::open(&url, &options()).await.map(drop) });
    }
    while let Some(opened) = tasks.join_next().await {
        opened??;
    }
    ensure!(postgres.say(&database, "SELECT version FROM headworks_migrations").await? == ["1"]);
    Ok(())
}

#[tokio::test]
async fn tables_of_another_version_are_refused() -> Result<()> {
    let postgres = Postgres::shared().await?;
    let database = postgres.database().await?;
    let url = postgres.url(&database);
    let only_look = Options { migrate: false, ..options() };
    for opened in
        [PostgresMeta::open(&url, &only_look).await, PostgresMeta::open_to_read(&url, &options()).await]
    {
        let refused = opened.err().context("it has no tables")?;
        ensure!(matches!(refused, OpenError::Older { found: 0, .. }), "{refused:?}");
    }
    migrate(&url, &options()).await?;
    PostgresMeta::open(&url, &only_look).await?;
    postgres.say(&database, "INSERT INTO headworks_migrations (version) VALUES (99)").await?;
    let refused = PostgresMeta::open(&url, &options()).await.err().context("it is newer")?;
    ensure!(Report(&refused).to_string() == "the database has version 99; this Headworks knows up to 1");
    ensure!(migrate(&url, &options()).await.is_err());
    Ok(())
}

#[tokio::test]
async fn what_is_open_to_read_cannot_be_written() -> Result<()> {
    let (meta, postgres, database) = super::fresh().await?;
    meta.persist(&[upload("a")], AT).await?;
    let beside = PostgresMeta::open_to_read(&postgres.url(&database), &options()).await?;
    ensure!(headworks_shared::meta::Audit::ledger_page(&beside, None, 9).await?.len() == 1);
    let written = beside.persist(&[upload("b")], AT).await;
    ensure!(matches!(written, Err(Error::Unavailable(_))), "{written:?}");
    ensure!(
        !meta.knows_uploads()
            && PostgresMeta::open(&postgres.url(&database), &options()).await?.knows_uploads()
    );
    Ok(())
}

#[tokio::test]
async fn a_database_that_does_not_keep_every_text_is_refused() -> Result<()> {
    let postgres = Postgres::shared().await?;
    postgres.say("postgres", "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0").await?;
    let refused =
        PostgresMeta::open(&postgres.url("latin"), &options()).await.err().context("it is Latin")?;
    ensure!(matches!(refused, OpenError::Encoding { .. }), "{refused:?}");
    Ok(())
}
