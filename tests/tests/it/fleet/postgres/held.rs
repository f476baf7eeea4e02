//! Locks that others hold, records that cannot be kept, and calls that are given up: none of them holds up what comes after it.

use std::time::Duration;

use anyhow::{Result, ensure};
use headworks_shared::{
    meta::{
        Audit as _, Catalog as _, Error, Ledger as _, Usage, Verdict,
        postgres::{Options, PostgresMeta},
    },
    model::{Scope, Timestamp},
    report::Report,
};
use headworks_tests::{DEADLINE, servers::postgres::Postgres, until};
use tokio::time::{Instant, timeout};

use super::{AT, fresh, options, upload, uploads};

#[tokio::test]
async fn a_lock_that_is_held_too_long_is_an_error_in_time_and_no_more_than_that() -> Result<()> {
    let postgres = Postgres::shared().await?;
    let database = postgres.database().await?;
    let options = Options { statement_timeout: Duration::from_secs(2), ..options() };
    let meta = PostgresMeta::open(&postgres.url(&database), &options).await?;
    let batch = uploads("a", 3);
    meta.persist(&batch[..1], AT).await?;
    let other = postgres.connect(&database).await?;
    for lock in ["SELECT * FROM scopes FOR UPDATE", "LOCK TABLE objects", "LOCK TABLE ledger"] {
        other.batch_execute(&format!("BEGIN; {lock}")).await?;
        let began = Instant::now();
        let outcome = meta.persist(&batch, AT).await;
        let Err(Error::Unavailable(why)) = outcome else { anyhow::bail!("{lock}: {outcome:?}") };
        let why = Report(why.as_ref()).to_string();
        ensure!(why.contains("lock timeout"), "{why}");
        ensure!(began.elapsed() < Duration::from_secs(4), "{lock}: {:?}", began.elapsed());
        other.batch_execute("ROLLBACK").await?;
    }
    let stored = Verdict::Stored { version: 1 };
    ensure!(meta.persist(&batch, AT).await?[1..] == [stored, stored]);
    ensure!(meta.contradictions().await?.is_empty());
    Ok(())
}

/// The caller bisects a batch that is rejected; what it finds must be rejected by itself, and all else must be stored.
#[tokio::test]
async fn a_poisoned_record_is_rejected_alone() -> Result<()> {
    let postgres = Postgres::shared().await?;
    let database = postgres.database().await?;
    let meta = PostgresMeta::open(&postgres.url(&database), &Options { pool: 1, ..options() }).await?;
    let mut batch = uploads("p", 8);
    batch[5].seal.sniffed_type = Some("image/\0png".to_owned());
    for part in [&batch[..], &batch[4..], &batch[4..6], &batch[5..6]] {
        let outcome = meta.persist(part, AT).await;
        ensure!(matches!(outcome, Err(Error::Rejected(_))), "{outcome:?}");
    }
    ensure!(meta.pool().size == 1, "a record that is rejected costs no connection: {:?}", meta.pool());
    batch.remove(5);
    ensure!(meta.persist(&batch, AT).await?.len() == 7);
    ensure!(meta.usage(&Scope::default()).await? == Usage { objects: 7, bytes: 70 });
    ensure!(meta.contradictions().await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn usage_that_would_overflow_rejects_the_batch() -> Result<()> {
    let (meta, _postgres, _) = fresh().await?;
    let mut huge = upload("a");
    huge.seal.size = i64::MAX.unsigned_abs() - 5;
    meta.persist(std::slice::from_ref(&huge), AT).await?;
    let outcome = meta.persist(&[upload("b")], AT).await;
    ensure!(matches!(outcome, Err(Error::Rejected(_))), "{outcome:?}");
    ensure!(meta.contradictions().await?.is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_given_up_leaves_no_transaction_open() -> Result<()> {
    let postgres = Postgres::shared().await?;
    let database = postgres.database().await?;
    let meta = PostgresMeta::open(&postgres.url(&database), &Options { pool: 2, ..options() }).await?;
    for round in 0..60 {
        let batch = uploads(&format!("g/{round}"), 40);
        // Given up at another moment each time.
        drop(timeout(Duration::from_micros(round * 250), meta.persist(&batch, AT)).await);
    }
    let open = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}' AND state LIKE 'idle in transaction%'"
    );
    let look = async || postgres.say("postgres", &open).await;
    until("no transaction to be open", DEADLINE, look, |open| *open == ["0"]).await?;
    meta.persist(&uploads("after", 1), AT).await?;
    ensure!(meta.contradictions().await?.is_empty());
    Ok(())
}

/// Whoever set the role or the database so: a commit that was answered must be on the disk.
#[tokio::test]
async fn commits_are_synchronous_where_the_database_says_they_are_not() -> Result<()> {
    let (_, postgres, database) = fresh().await?;
    postgres.say(&database, &format!("ALTER DATABASE {database} SET synchronous_commit = off")).await?;
    postgres
        .say(
            &database,
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                IF current_setting('synchronous_commit') <> 'on' THEN RAISE 'not synchronous'; END IF;
                RETURN NEW; END $$;
            CREATE TRIGGER refuse BEFORE INSERT ON ledger FOR EACH ROW EXECUTE FUNCTION refuse()",
        )
        .await?;
    let meta = PostgresMeta::open(&postgres.url(&database), &options()).await?;
    meta.persist(&[upload("a")], AT).await?;
    let by_hand =
        "INSERT INTO ledger (id, scope, at, size, state) VALUES (gen_random_uuid(), 1, 1, 1, 'stored')";
    ensure!(postgres.say(&database, by_hand).await.is_err(), "the trigger refuses nothing");
    Ok(())
}

#[tokio::test]
async fn many_more_tombstones_are_forgotten_than_one_step_takes() -> Result<()> {
    let (meta, _postgres, _) = fresh().await?;
    let batch = uploads("t", 603);
    meta.persist(&batch, AT).await?;
    for record in &batch {
        meta.delete(&record.envelope.scope, record.id, None, AT).await?;
    }
    let ids: Vec<_> = batch.iter().map(|record| record.id).collect();
    meta.purged(&ids).await?;
    while headworks_shared::meta::Outbox::relay(&*meta, &[], 1000, AT).await? > 0 {}
    let later: Timestamp = AT.after(Duration::from_secs(1));
    ensure!(meta.prune(later).await? == 3 * 603, "a ledger row and two events each");
    ensure!(meta.ledger_page(None, 9).await?.is_empty());
    ensure!(meta.contradictions().await?.is_empty());
    Ok(())
}
