//! A replica answers the catalog's questions. Another database stands for one that is late by everything since: so it shows who was
//! asked.

use anyhow::{Result, ensure};
use headworks_shared::{
    meta::{
        Catalog as _, Found, Ledger as _, Usage,
        postgres::{Options, PostgresMeta},
    },
    model::Scope,
};
use headworks_tests::servers::{free_address, postgres::Postgres};

use super::{AT, options, upload};

#[tokio::test]
async fn the_catalog_asks_the_replica_and_for_unknown_uploads_the_primary() -> Result<()> {
    let postgres = Postgres::shared().await?;
    let (primary, replica) = (postgres.database().await?, postgres.database().await?);
    let behind = PostgresMeta::open(&postgres.url(&replica), &options()).await?;
    let old = upload("old");
    behind.persist(std::slice::from_ref(&old), AT).await?;
    let with_replica = Options { replica: Some(postgres.url(&replica)), ..options() };
    let meta = PostgresMeta::open(&postgres.url(&primary), &with_replica).await?;
    let new = upload("new");
    meta.persist(&[old.clone(), new.clone()], AT).await?;

    let (scope, everything) = (Scope::default(), "");
    let listed = meta.list(&scope, everything, None, 9).await?;
    ensure!(listed.iter().map(|object| object.id).eq([old.id]), "{listed:?}");
    ensure!(meta.usage(&scope).await? == Usage { objects: 1, bytes: 10 });
    ensure!(meta.at_path(&scope, &new.envelope.path).await?.is_none());
    let found = meta.find(&scope, new.id).await?;
    ensure!(matches!(&found, Some(Found::Stored(object)) if object.id == new.id), "{found:?}");
    ensure!(meta.states(&[new.id]).await?[0].is_some(), "the ledger is the primary's");
    ensure!(meta.replica_pool().is_some_and(|pool| pool.size > 0));
    Ok(())
}

#[tokio::test]
async fn the_primary_answers_when_the_replica_is_away() -> Result<()> {
    let postgres = Postgres::shared().await?;
    let database = postgres.database().await?;
    let nobody = format!("postgres://postgres@{}/x", free_address()?);
    let meta =
        PostgresMeta::open(&postgres.url(&database), &Options { replica: Some(nobody), ..options() }).await?;
    meta.persist(&[upload("a")], AT).await?;
    for _ in 0..3 {
        ensure!(meta.usage(&Scope::default()).await?.objects == 1);
    }
    Ok(())
}
