//! Many processes at once: each has a store of its own, with connections of its own.

use std::{
    collections::{BTreeMap, HashSet},
    slice::from_ref,
    sync::Arc,
    time::Duration,
};

use anyhow::{Result, ensure};
use headworks_shared::{
    meta::{
        Audit as _, Catalog as _, Ledger as _, Outbox as _, Receiver, Record, Usage, Verdict,
        postgres::PostgresMeta,
    },
    model::{EventId, Scope},
};
use tokio::{sync::Barrier, task::JoinSet};

use super::{AT, fresh, options, upload, uploads};

const PROCESSES: usize = 8;

/// Several stores of one database.
async fn stores(url: &str) -> Result<Vec<Arc<PostgresMeta>>> {
    let mut stores = Vec::new();
    for _ in 0..PROCESSES {
        stores.push(Arc::new(PostgresMeta::open(url, &options()).await?));
    }
    Ok(stores)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_to_the_same_paths_give_each_version_once() -> Result<()> {
    let (meta, postgres, database) = fresh().await?;
    let records: Vec<_> = (0..1200).map(|number| upload(&format!("hot/{}", number % 5))).collect();
    let records = Arc::new(records);
    let start = Arc::new(Barrier::new(PROCESSES));
    let mut tasks = JoinSet::new();
    for (process, store) in stores(&postgres.url(&database)).await?.into_iter().enumerate() {
        let (records, start) = (Arc::clone(&records), Arc::clone(&start));
        tasks.spawn(async move {
            start.wait().await;
            let mut stored = Vec::new();
            // Windows of 100 that begin elsewhere in each process, so that every record is in several batches at once.
            for step in 0..12 {
                let from = (process * 150 + step * 100) % 1101;
                stored.extend(persist(&store, &records[from..from + 100]).await?);
            }
            stored.extend(persist(&store, &records[1100..]).await?);
            anyhow::Ok(stored)
        });
    }
    let mut versions: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    while let Some(stored) = tasks.join_next().await {
        for (path, version) in stored?? {
            versions.entry(path).or_default().push(version);
        }
    }
    for (path, given) in &mut versions {
        given.sort_unstable();
        ensure!(given.iter().copied().eq(1..=240), "{path}: {given:?}");
    }
    ensure!(meta.usage(&Scope::default()).await? == Usage { objects: 1200, bytes: 12_000 });
    ensure!(meta.contradictions().await?.is_empty(), "{:?}", meta.contradictions().await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_of_the_same_uploads_in_any_order_never_wait_for_each_other() -> Result<()> {
    let (meta, postgres, database) = fresh().await?;
    let stores = stores(&postgres.url(&database)).await?;
    for round in 0..16 {
        let records = uploads(&format!("same/{round}"), 250);
        let start = Arc::new(Barrier::new(PROCESSES));
        let mut tasks = JoinSet::new();
        for store in &stores {
            let (store, start, mut batch) = (Arc::clone(store), Arc::clone(&start), records.clone());
            fastrand::shuffle(&mut batch);
            tasks.spawn(async move {
                start.wait().await;
                Ok::<_, anyhow::Error>(persist(&store, &batch).await?.len())
            });
        }
        let mut stored = 0;
        while let Some(some) = tasks.join_next().await {
            stored += some??;
        }
        ensure!(stored == 250, "{stored}");
    }
    ensure!(meta.contradictions().await?.is_empty(), "{:?}", meta.contradictions().await?);
    let said = postgres.said();
    ensure!(!said.contains("deadlock detected"), "{said}");
    Ok(())
}

/// The paths and versions that a batch stored.
async fn persist(store: &PostgresMeta, records: &[Record]) -> Result<Vec<(String, u64)>> {
    let verdicts = store.persist(records, AT).await?;
    let stored = records.iter().zip(verdicts).filter_map(|(record, verdict)| match verdict {
        Verdict::Stored { version } => Some((record.envelope.path.to_string(), version)),
        _ => None,
    });
    Ok(stored.collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_that_must_be_free_is_taken_by_one_of_many() -> Result<()> {
    let (meta, postgres, database) = fresh().await?;
    let stores = stores(&postgres.url(&database)).await?;
    for round in 0..10 {
        let mut tasks = JoinSet::new();
        let start = Arc::new(Barrier::new(PROCESSES));
        for store in &stores {
            let store = Arc::clone(store);
            let start = Arc::clone(&start);
            let mut record = upload(&format!("lock/{round}"));
            record.envelope.only_if_absent = true;
            tasks.spawn(async move {
                start.wait().await;
                store.persist(&[record], AT).await
            });
        }
        let verdicts: Vec<_> = tasks.join_all().await.into_iter().collect::<Result<_, _>>()?;
        let verdicts: Vec<_> = verdicts.into_iter().flatten().collect();
        let won = verdicts.iter().filter(|verdict| **verdict == Verdict::Stored { version: 1 }).count();
        let lost =
            verdicts.iter().filter(|verdict| **verdict == Verdict::Failed { reason: "exists" }).count();
        ensure!((won, lost) == (1, PROCESSES - 1), "{verdicts:?}");
    }
    ensure!(meta.contradictions().await?.is_empty(), "{:?}", meta.contradictions().await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_and_deletions_cross_without_a_deadlock() -> Result<()> {
    let (meta, postgres, database) = fresh().await?;
    let stores = stores(&postgres.url(&database)).await?;
    let mut tasks = JoinSet::new();
    for (process, store) in stores.into_iter().enumerate() {
        tasks.spawn(async move {
            for round in 0..6 {
                let mut batch: Vec<_> = (0..40).map(|number| upload(&format!("x/{}", number % 20))).collect();
                for (number, record) in batch.iter_mut().enumerate() {
                    let project = format!("p{}", (number + process * 3) % 5);
                    record.envelope.scope = Scope::new("acme", &project).expect("a scope");
                }
                store.persist(&batch, AT).await?;
                for record in batch.iter().skip(round).step_by(4) {
                    store.delete(&record.envelope.scope, record.id, None, AT).await?;
                }
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    ensure!(meta.contradictions().await?.is_empty(), "{:?}", meta.contradictions().await?);
    Ok(())
}

fn receiver(name: &str) -> Receiver {
    Receiver { url: format!("https://{name}.example/"), events: Vec::new() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_relays_make_each_delivery_once() -> Result<()> {
    let (meta, postgres, database) = fresh().await?;
    let mut tasks = JoinSet::new();
    for (process, store) in stores(&postgres.url(&database)).await?.into_iter().enumerate() {
        tasks.spawn(async move {
            let (mut relayed, mut taken) = (0, Vec::new());
            for round in 0..30 {
                let batch: Vec<_> =
                    (0..7).map(|number| upload(&format!("e/{process}/{round}/{number}"))).collect();
                store.persist(&batch, AT).await?;
                relayed += store.relay(&[receiver("one"), receiver("two")], 5, AT).await?;
                let due = store.due(&receiver("one").url, 9, AT, Duration::from_secs(60)).await?;
                taken.extend(due.into_iter().map(|delivery| delivery.event));
            }
            anyhow::Ok((relayed, taken))
        });
    }
    let (mut relayed, mut taken): (usize, Vec<EventId>) = (0, Vec::new());
    while let Some(ended) = tasks.join_next().await {
        let (some, few) = ended??;
        relayed += some;
        taken.extend(few);
    }
    let all = PROCESSES * 30 * 7;
    loop {
        match meta.relay(&[receiver("one"), receiver("two")], 1000, AT).await? {
            0 => break,
            more => relayed += more,
        }
    }
    let due = meta.due(&receiver("one").url, all, AT, Duration::from_secs(60)).await?;
    taken.extend(due.into_iter().map(|delivery| delivery.event));
    ensure!((relayed, taken.len()) == (all, all), "{relayed} relayed, {} taken of {all}", taken.len());
    ensure!(taken.into_iter().collect::<HashSet<_>>().len() == all, "a delivery was taken twice");
    ensure!(meta.due(&receiver("two").url, all + 1, AT, Duration::ZERO).await?.len() == all);
    ensure!(meta.backlog().await?.pending == 2 * all as u64);
    ensure!(meta.contradictions().await?.is_empty(), "{:?}", meta.contradictions().await?);
    Ok(())
}

/// The numbers of events come from a sequence, so one that is lower may become visible after one that is higher.
#[tokio::test]
async fn an_event_whose_transaction_commits_late_is_relayed() -> Result<()> {
    let (meta, postgres, database) = fresh().await?;
    meta.persist(&[upload("before")], AT).await?;
    ensure!(meta.relay(&[receiver("one")], 10, AT).await? == 1);
    // A batch that has its number, but has not committed: as `persist` stands before its last word.
    let late = postgres.connect(&database).await?;
    late.batch_execute(
        "BEGIN; INSERT INTO unrelayed (events, time) VALUES (1, 1795237920000);
        INSERT INTO events SELECT (SELECT max(batch) FROM unrelayed) << 20, time, gen_random_uuid(), gen_random_uuid(), type,
            '{}' FROM events",
    )
    .await?;
    meta.persist(&[upload("after")], AT).await?;
    ensure!(meta.relay(&[receiver("one")], 10, AT).await? == 1);
    ensure!(meta.relay(&[receiver("one")], 10, AT).await? == 0);
    late.batch_execute("COMMIT").await?;
    ensure!(meta.relay(&[receiver("one")], 10, AT).await? == 1, "the late one is forgotten");
    ensure!(meta.due(&receiver("one").url, 10, AT, Duration::ZERO).await?.len() == 3);
    Ok(())
}

#[tokio::test]
async fn a_try_that_two_processes_tell_ends_the_delivery_once() -> Result<()> {
    use headworks_shared::meta::{Attempt, Next};
    let (meta, postgres, database) = fresh().await?;
    let batch: Vec<_> = (0..50).map(|number| upload(&format!("s/{number}"))).collect();
    meta.persist(&batch, AT).await?;
    meta.relay(from_ref(&receiver("one")), 100, AT).await?;
    let due = meta.due(&receiver("one").url, 100, AT, Duration::ZERO).await?;
    let attempts = due.iter().map(|delivery| Attempt {
        event: delivery.event,
        receiver: delivery.receiver.clone(),
        at: AT,
        status: Some(204),
        error: None,
        took: Duration::from_millis(3),
        next: Next::Delivered,
    });
    let attempts: Vec<_> = attempts.collect();
    let mut tasks = JoinSet::new();
    for (process, store) in stores(&postgres.url(&database)).await?.into_iter().enumerate() {
        let mut attempts = attempts.clone();
        attempts.rotate_left(process * 5);
        tasks.spawn(async move { store.settle(&attempts).await });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    ensure!(meta.backlog().await?.pending == 0);
    ensure!(meta.log(1000).await?.len() == 50, "a line for each try that counted");
    ensure!(meta.contradictions().await?.is_empty(), "{:?}", meta.contradictions().await?);
    Ok(())
}
