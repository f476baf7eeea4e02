//! Sweeps over objects on a real disk.

use std::time::Duration;

use headworks_shared::{
    meta::{DeadLetter, DeadLetters as _, Ledger as _},
    model::{JobPayload, State, UploadId},
    queue::JobQueue as _,
    storage::Key,
};

use super::{Reach, SweepError, SweepReport, sweep_once};
use crate::testing::{House, id_at, until};

async fn sweep(house: &House, reach: Reach) -> SweepReport {
    sweep_once(&house.stack, &house.settings, reach).await.unwrap()
}

fn queued(house: &House) -> Vec<UploadId> {
    house.queue.jobs().into_iter().map(|(job, _)| job.id).collect()
}

#[tokio::test]
async fn an_object_without_a_row_is_adopted_once() {
    let house = House::new(10);
    let (lost, known) = (house.store("lost.txt", "x").await, house.store("known.txt", "y").await);
    house.meta.set(known.id, State::Stored);
    assert_eq!(sweep(&house, Reach::Recent).await.adopted, 1);
    sweep(&house, Reach::Deep).await;
    let jobs = house.queue.jobs();
    assert_eq!(queued(&house), [lost.id]);
    let JobPayload::ObjectStoredV1 { envelope, seal, adopted } = &jobs[0].0.payload;
    let JobPayload::ObjectStoredV1 { envelope: said, seal: was, .. } = &lost.payload;
    assert_eq!((envelope, seal, *adopted), (said, was, true));
}

#[tokio::test]
async fn adopted_bytes_are_read_again() {
    let mut house = House::new(10);
    house.settings.processor.sweep.every.0 = Duration::from_millis(100);
    let (sound, damaged) = (house.store("a.txt", "sound").await, house.store("b.txt", "damaged").await);
    house.damage(damaged.id);
    house.start();
    let states = || [sound.id, damaged.id].map(|id| house.meta.row(id).map(|row| row.state));
    until("states", states, |states| *states == [Some(State::Stored), Some(State::Failed)]).await;
    until("queue", || queued(&house), Vec::is_empty).await;
    until(
        "metrics",
        || house.stack.registry.render(),
        |text| text.contains("headworks_sweep_adopted_total 2"),
    )
    .await;
    house.drain().await;
    assert_eq!([house.has_bytes(sound.id).await, house.has_bytes(damaged.id).await], [true, true]);
}

#[tokio::test]
async fn an_object_without_a_seal_gets_it_from_its_bytes() {
    let house = House::new(10);
    house.blobs.forget_seals();
    let lost = house.store("lost.txt", "some bytes").await;
    assert_eq!(sweep(&house, Reach::Recent).await.adopted, 1);
    let jobs = house.queue.jobs();
    let JobPayload::ObjectStoredV1 { envelope, seal, adopted } = &jobs[0].0.payload;
    let JobPayload::ObjectStoredV1 { envelope: said, seal: was, .. } = &lost.payload;
    assert_eq!((envelope, seal.size, seal.digests), (said, was.size, was.digests));
    assert!(!adopted, "its bytes were read just now, and need not be read again");
    house.start();
    until("the row", || house.meta.row(lost.id).map(|row| row.state), |state| *state == Some(State::Stored))
        .await;
    house.drain().await;
}

#[tokio::test]
async fn an_object_that_is_still_on_its_way_is_left_alone() {
    let mut house = House::new(10);
    house.settings.processor.sweep.settle.0 = Duration::from_secs(3600);
    house.store("young.txt", "x").await;
    assert_eq!(sweep(&house, Reach::Deep).await, SweepReport::default());
}

#[tokio::test]
async fn what_began_long_ago_is_found_by_the_deep_round_alone() {
    let house = House::new(10);
    let now = house.stack.clock.now();
    let hours = |hours: u64| id_at(now.before(Duration::from_secs(hours * 3600)));
    let (late, too_late) = (hours(25), hours(27));
    house.store_as(late, "late.txt", "x").await;
    house.store_as(too_late, "too-late.txt", "x").await;
    assert_eq!(sweep(&house, Reach::Recent).await.adopted, 0);
    assert_eq!(sweep(&house, Reach::Deep).await.adopted, 1);
    assert_eq!(queued(&house), [late]);
}

#[tokio::test]
async fn nothing_escapes_the_deep_round_however_long_nobody_went_round() {
    let house = House::new(10);
    sweep(&house, Reach::Deep).await;
    let lost = house.store("lost.txt", "x").await;
    house.stack.clock.advance(Duration::from_secs(100 * 3600));
    assert_eq!(sweep(&house, Reach::Deep).await.adopted, 1);
    assert_eq!(queued(&house), [lost.id]);
}

#[tokio::test]
async fn a_deep_round_that_was_cut_short_is_not_counted() {
    let house = House::new(1);
    sweep(&house, Reach::Deep).await;
    let begun = house.meta.swept().await.unwrap();
    house.store("one.txt", "x").await;
    house.store("two.txt", "x").await;
    house.stack.clock.advance(Duration::from_secs(3600));
    assert!(sweep(&house, Reach::Deep).await.cut_short);
    assert_eq!(house.meta.swept().await.unwrap(), begun);
}

#[tokio::test]
async fn a_dead_job_is_not_adopted_for_ever() {
    let house = House::new(10);
    let job = house.store("dead.txt", "x").await;
    let letter = DeadLetter { job, error: "broken".to_owned(), at: house.stack.clock.now() };
    house.meta.bury(&letter).await.unwrap();
    assert_eq!(sweep(&house, Reach::Deep).await.adopted, 0);
    assert!(house.has_bytes(letter.job.id).await);
}

#[tokio::test]
async fn bytes_without_worth_are_removed() {
    let house = House::new(10);
    let (failed, deleted) = (house.store("f.txt", "x").await.id, house.store("d.txt", "y").await.id);
    house.meta.set(failed, State::Failed);
    house.meta.set(deleted, State::Deleted);
    assert!(sweep(&house, Reach::Recent).await.removed >= 2);
    for id in [failed, deleted] {
        assert!(house.meta.row(id).unwrap().purged && !house.has_bytes(id).await);
    }
    assert_eq!(sweep(&house, Reach::Recent).await, SweepReport::default());
}

#[tokio::test]
async fn an_error_means_keep() {
    let house = House::new(10);
    let id = house.store("a.txt", "x").await.id;
    house.meta.set_down(true);
    let error = sweep_once(&house.stack, &house.settings, Reach::Deep).await.unwrap_err();
    assert!(matches!(error, SweepError::Metadata(_)), "{error}");
    house.meta.set_down(false);
    house.blobs.set_down(true);
    let error = sweep_once(&house.stack, &house.settings, Reach::Deep).await.unwrap_err();
    assert!(matches!(error, SweepError::Storage(_)), "{error}");
    house.blobs.set_down(false);
    assert!(house.queue.jobs().is_empty() && house.has_bytes(id).await);
}

#[tokio::test]
async fn a_full_queue_ends_the_round_and_the_next_goes_on() {
    let house = House::new(2);
    for name in ["a", "b", "c"] {
        house.store(name, name).await;
    }
    let report = sweep(&house, Reach::Recent).await;
    assert_eq!((report.adopted, report.cut_short), (2, true));
    let claimed = house.queue.claim(2, Duration::ZERO).await.unwrap();
    for one in &claimed {
        house.meta.set(one.job.id, State::Stored);
    }
    house.queue.done(&claimed.iter().map(|one| one.ticket).collect::<Vec<_>>()).await.unwrap();
    let report = sweep(&house, Reach::Recent).await;
    assert_eq!((report.adopted, report.cut_short), (1, false));
}

#[tokio::test]
async fn an_object_that_says_nothing_of_itself_is_left_alone() {
    let house = House::new(10);
    let id = id_at(house.stack.clock.now().before(Duration::from_secs(300)));
    house.stack.blobs.create(&house.key(id), "x".into()).await.unwrap();
    let garbled = house.store("garbled.txt", "x").await;
    house.garble_envelope(garbled.id);
    let lost = house.store("lost.txt", "x").await;
    let report = sweep(&house, Reach::Recent).await;
    assert_eq!((report.adopted, report.strangers), (1, 2));
    assert_eq!(queued(&house), [lost.id]);
    assert!(house.has_bytes(id).await && house.has_bytes(garbled.id).await);
}

#[tokio::test]
async fn markers_go_when_they_are_no_longer_valid() {
    let house = House::new(10);
    let marker = Key::marker(Key::marker_id(&Default::default(), "key-1"));
    house.stack.blobs.create(&marker, "{}".into()).await.unwrap();
    assert_eq!(sweep(&house, Reach::Deep).await.markers, 0);
    house.stack.clock.advance(Duration::from_secs(13 * 3600));
    assert_eq!(sweep(&house, Reach::Deep).await.markers, 1);
    assert!(house.stack.blobs.stat(&[marker]).await.remove(0).is_err());
}
