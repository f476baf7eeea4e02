//! The way of a job, from the queue to its answer, with all tasks running.

use std::time::Duration;

use headworks_shared::{
    config::Span,
    http::Code,
    meta::DeadLetters as _,
    model::{Job, JobPayload, State, What},
    outcomes::Outcome,
    queue::JobQueue as _,
};
use tokio::time::timeout;

use crate::testing::{House, until};

fn names(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|number| format!("a/{number}.txt"))
}

/// In which a sweep leaves alone what was stored: else it may offer again what it looked up before its job was done.
const LONG: Duration = Duration::from_secs(3600);

async fn worked_off(house: &House) {
    until("jobs on the queue", || house.queue.jobs(), Vec::is_empty).await;
}

#[tokio::test]
async fn what_is_queued_is_stored_told_and_answered() {
    let mut house = House::new(1000);
    house.settings.processor.batch.rows = 100;
    let jobs = house.upload(names(300)).await;
    let mut waiting = house.stack.outcomes.listen(jobs[7].id);
    house.start();
    worked_off(&house).await;
    let told = timeout(Duration::from_secs(5), waiting.outcome()).await.unwrap();
    assert_eq!(told, Some(Outcome { state: State::Stored, reason: None }));
    assert_eq!(house.meta.count(State::Stored), 300);
    assert_eq!(house.meta.events().len(), 300);
    until("events without deliveries", || house.meta.unrelayed(), |left| *left == 0).await;
    house.drain().await;
    assert!(house.meta.batches().iter().all(|rows| *rows <= 100));
    let metrics = house.stack.registry.render();
    let line = r#"headworks_jobs_total{kind="object_stored",outcome="stored"} 300"#;
    assert!(metrics.contains(line), "{metrics}");
}

#[tokio::test]
async fn an_object_that_is_not_what_its_job_says_fails_and_its_bytes_stay() {
    let house = House::new(10);
    let gone = house.store("gone.txt", "gone").await;
    house.stack.blobs.delete(&house.key(gone.id)).await.unwrap();
    let mut damaged = house.store("damaged.txt", "damaged").await;
    let JobPayload::ObjectStoredV1 { seal, .. } = &mut damaged.payload;
    seal.digests.crc64nvme.0 ^= 1;
    let mut waiting = house.stack.outcomes.listen(gone.id);
    for job in [&gone, &damaged] {
        house.queue.push(job.clone(), None).await.unwrap();
    }
    house.start();
    worked_off(&house).await;
    let purged = || [gone.id, damaged.id].map(|id| house.meta.row(id).map(|row| (row.state, row.purged)));
    until("rows", purged, |rows| *rows == [Some((State::Failed, true)); 2]).await;
    assert!(house.has_bytes(damaged.id).await, "the store's word may be wrong");
    let reason = Some(Code::ObjectMissing.as_str());
    assert_eq!(waiting.outcome().await, Some(Outcome { state: State::Failed, reason }));
    let told: Vec<_> = house.meta.events().into_iter().map(|event| event.what).collect();
    let failed = |reason, size| What::Failed { size, reason };
    assert_eq!(
        told,
        [failed("object_damaged", 7), failed("object_missing", 4)],
        "the missing one is looked for again first"
    );
    house.drain().await;
}

#[tokio::test]
async fn a_job_that_is_done_again_changes_nothing() {
    let house = House::new(10);
    let jobs = house.upload(names(1)).await;
    house.start();
    worked_off(&house).await;
    house.queue.push(jobs[0].clone(), None).await.unwrap();
    worked_off(&house).await;
    house.drain().await;
    assert_eq!((house.meta.count(State::Stored), house.meta.events().len()), (1, 1));
    assert!(house.has_bytes(jobs[0].id).await);
}

#[tokio::test]
async fn an_object_that_was_deleted_before_its_job_stays_deleted_and_its_bytes_go() {
    let house = House::new(10);
    let jobs = house.upload(names(1)).await;
    house.meta.set(jobs[0].id, State::Deleted);
    house.start();
    worked_off(&house).await;
    until("purged", || house.meta.row(jobs[0].id).unwrap().purged, |purged| *purged).await;
    assert!(!house.has_bytes(jobs[0].id).await);
    assert!(house.meta.events().is_empty());
    house.drain().await;
}

#[tokio::test]
async fn a_poisoned_record_stands_alone_and_the_rest_is_stored() {
    let house = House::new(200);
    let paths = (0..100).map(|n| match n {
        37 | 80 => format!("poison-{n}.txt"),
        _ => format!("a/{n}.txt"),
    });
    let jobs = house.upload(paths).await;
    house.start();
    worked_off(&house).await;
    house.drain().await;
    assert_eq!((house.meta.count(State::Stored), house.meta.count(State::Failed)), (98, 0));
    for poisoned in [&jobs[37], &jobs[80]] {
        let letter = house.meta.dead_letter(poisoned.id).await.unwrap().unwrap();
        assert_eq!(letter.error, "store a record: value out of range");
        assert!(house.has_bytes(poisoned.id).await, "a person may mend it, and needs the bytes");
    }
}

#[tokio::test]
async fn a_batch_waits_for_the_database_and_its_leases_are_kept_alive() {
    let house = House::with_lease(10, Duration::from_millis(300));
    house.upload(names(3)).await;
    house.meta.set_down(true);
    house.start();
    until("heartbeats", || house.queue.extended(), |extended| *extended >= 9).await;
    let deliveries: Vec<_> = house.queue.jobs().into_iter().map(|(job, times)| (job.tries, times)).collect();
    assert_eq!(deliveries, [(0, 1); 3], "the leases lapsed");
    house.meta.set_down(false);
    worked_off(&house).await;
    house.drain().await;
    assert_eq!(house.meta.count(State::Stored), 3);
}

/// Which of those that were in work is to blame, nobody knows.
#[tokio::test]
async fn a_job_that_may_kill_its_workers_comes_again_later_and_is_dead_in_the_end() {
    let mut house = House::new(10);
    house.settings.processor.sweep.settle = Span(LONG);
    let first = house.store("first.txt", "x").await;
    let mut last = house.store("last.txt", "x").await;
    last.tries = house.settings.processor.max_tries - 1;
    for job in [&first, &last] {
        house.queue.push(job.clone(), None).await.unwrap();
    }
    house.queue.set_deliveries(5);
    house.start();
    let tries = || house.queue.jobs().into_iter().map(|(job, _)| (job.id, job.tries)).collect::<Vec<_>>();
    until("one left", tries, |left| *left == [(first.id, 1)]).await;
    house.drain().await;
    let letter = house.meta.dead_letter(last.id).await.unwrap().unwrap();
    assert_eq!(letter.error, "handed out 6 times without an answer");
    assert_eq!((house.meta.row(first.id), house.meta.row(last.id)), (None, None));
}

#[tokio::test]
async fn a_job_is_tried_again_and_dies_only_while_the_store_is_well() {
    let house = House::new(10);
    let processor = house.processor();
    let mut job = house.store("a.txt", "a").await;
    job.tries = house.settings.processor.max_tries - 1;
    house.queue.push(job.clone(), None).await.unwrap();
    let claim = async || processor.leases.take(house.queue.claim(1, Duration::ZERO).await.unwrap()).remove(0);

    house.blobs.set_down(true);
    processor.put_back(claim().await, "store is down".to_owned()).await;
    assert_eq!(house.queue.jobs()[0].0.tries, job.tries + 1);
    assert_eq!(house.meta.dead_count().await.unwrap(), 0);

    house.blobs.set_down(false);
    let other = house.store("b.txt", "b").await;
    house.queue.push(Job { tries: job.tries, ..other.clone() }, None).await.unwrap();
    processor.put_back(claim().await, "cannot be read".to_owned()).await;
    assert_eq!(house.meta.dead_letter(other.id).await.unwrap().unwrap().error, "cannot be read");
}

#[tokio::test]
async fn a_stop_gives_back_what_was_not_begun() {
    let house = House::new(10);
    house.start();
    until("claims that wait", || house.queue.claiming(), |claiming| *claiming == 1).await;
    house.tasks.stop().cancel();
    let jobs = house.upload(names(2)).await;
    house.drain().await;
    let left: Vec<_> = house.queue.jobs().into_iter().map(|(job, _)| (job.id, job.tries)).collect();
    assert_eq!(left, [(jobs[0].id, 0), (jobs[1].id, 0)]);
    let claimable = house.queue.claim(10, Duration::ZERO).await.unwrap();
    assert_eq!(claimable.len(), 2, "given back at once, not after the lease");
}

#[tokio::test]
async fn a_stop_finishes_what_was_begun() {
    let mut house = House::new(10);
    house.settings.processor.batch.wait = Span(Duration::from_secs(60));
    house.settings.processor.sweep.settle = Span(LONG);
    house.upload(names(2)).await;
    house.start();
    let begun = || house.queue.jobs().iter().all(|(_, deliveries)| *deliveries == 1);
    until("both jobs claimed", begun, |begun| *begun).await;
    house.drain().await;
    assert_eq!((house.meta.count(State::Stored), house.queue.jobs().len()), (2, 0));
}

#[tokio::test]
async fn a_stop_gives_back_a_batch_that_the_database_does_not_take() {
    let house = House::new(10);
    house.upload(names(2)).await;
    house.meta.set_down(true);
    house.start();
    let deliveries = || house.queue.jobs().into_iter().map(|(_, deliveries)| deliveries).collect::<Vec<_>>();
    until("both jobs claimed", deliveries, |deliveries| *deliveries == [1, 1]).await;
    house.drain().await;
    let left: Vec<_> =
        house.queue.jobs().into_iter().map(|(job, deliveries)| (job.tries, deliveries)).collect();
    assert_eq!(left, [(0, 0); 2], "an outage counts as a try, or the leases were left to lapse");
}

#[tokio::test]
async fn claims_go_on_after_the_queue_was_out_of_reach() {
    let house = House::new(10);
    house.queue.set_down(true);
    house.start();
    until("failed claims", || house.queue.refused(), |refused| *refused >= 3).await;
    house.queue.set_down(false);
    house.upload(names(1)).await;
    worked_off(&house).await;
    house.drain().await;
    assert_eq!(house.meta.count(State::Stored), 1);
}
