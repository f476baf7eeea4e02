//! What the file adds to the seam's promises: jobs outlive the process, and a file that fails is lived with.

use std::{fs, pin::pin, task::Poll};

use rusqlite::Connection;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::*;
use crate::{
    model::{Priority, Timestamp},
    queue::conformance::{self, holder, job},
};

const SETTINGS: Settings = Settings::with_capacity(10);
const PATIENCE: Duration = Duration::from_secs(20);
const START: Timestamp = Timestamp::from_unix_ms(1_800_000_000_000);

fn open(folder: &TempDir, clock: &Clock) -> SqliteQueue {
    open_to(Writing::Through, folder, clock)
}

fn open_to(writing: Writing, folder: &TempDir, clock: &Clock) -> SqliteQueue {
    let path = folder.path().join("queue.db");
    SqliteQueue::open(&path, SETTINGS, writing, clock.clone()).expect("open the queue")
}

async fn claim(queue: &SqliteQueue, max: usize) -> Vec<Claimed> {
    queue.claim(max, Duration::ZERO).await.expect("claim")
}

async fn push(queue: &SqliteQueue, numbers: std::ops::Range<u64>) {
    for n in numbers {
        queue.push(job(n, Priority::Normal), None).await.expect("push");
    }
}

/// The job's id, tries and deliveries.
fn told(claimed: &[Claimed]) -> Vec<(crate::model::UploadId, u32, u32)> {
    claimed.iter().map(|one| (one.job.id, one.job.tries, one.deliveries)).collect()
}

fn id(n: u64) -> crate::model::UploadId {
    job(n, Priority::Normal).id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_every_promise_of_the_seam() {
    let folder = tempfile::tempdir().expect("a folder");
    let count = std::sync::atomic::AtomicUsize::new(0);
    for writing in [Writing::Through, Writing::Behind] {
        conformance::suite(async |settings| {
            let n = count.fetch_add(1, Ordering::Relaxed);
            let path = folder.path().join(format!("{n}.db"));
            Arc::new(SqliteQueue::open(&path, settings, writing, Clock::system()).expect("open the queue"))
                as Arc<dyn JobQueue>
        })
        .await;
    }
}

#[tokio::test]
async fn jobs_survive_reopening_with_tries_deliveries_and_delays() {
    let (folder, clock) = (tempfile::tempdir().expect("a folder"), Clock::manual(START));
    let queue = open(&folder, &clock);
    push(&queue, 0..5).await;
    let claimed = claim(&queue, 4).await;
    queue.done(&[claimed[0].ticket]).await.expect("done");
    queue.again(claimed[1].ticket, Duration::ZERO, true).await.expect("again");
    queue.again(claimed[2].ticket, Duration::from_secs(60), true).await.expect("again");
    queue.hold_credits(&holder(1), [2, 0, 0]).await.expect("hold credits");
    drop(queue);

    clock.advance(Duration::from_secs(10));
    let queue = open(&folder, &clock);
    let depth = queue.depth().await.expect("depth");
    // The lease and the credits had no owner any more; the delay goes on.
    assert_eq!((depth.ready, depth.in_flight, depth.delayed), ([0, 3, 0], [0; 3], [0, 1, 0]));
    assert_eq!(depth.credited, [0; 3]);
    let oldest = depth.oldest.expect("there are jobs");
    assert!(oldest >= Duration::from_secs(10) && oldest < Duration::from_secs(40), "{oldest:?}");
    let again = claim(&queue, 9).await;
    assert_eq!(told(&again), [(id(1), 1, 1), (id(3), 0, 2), (id(4), 0, 1)]);
    assert_eq!(again[1].job.payload, job(3, Priority::Normal).payload);
    drop(queue);

    clock.advance(Duration::from_secs(50));
    let again = claim(&open(&folder, &clock), 9).await;
    assert_eq!(told(&again), [(id(1), 1, 2), (id(2), 1, 1), (id(3), 0, 3), (id(4), 0, 2)]);
}

#[tokio::test]
async fn what_was_answered_survives_a_kill() {
    let (folder, killed) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let clock = Clock::manual(START);
    let queue = open(&folder, &clock);
    push(&queue, 0..3).await;
    let claimed = claim(&queue, 2).await;
    queue.done(&[claimed[0].ticket]).await.expect("done");
    // What a process that is killed now leaves behind.
    copy(&folder, &killed);
    push(&queue, 3..4).await;
    assert_eq!(told(&claim(&open(&killed, &clock), 9).await), [(id(1), 0, 2), (id(2), 0, 1)]);
}

/// What a process would find if this one were killed now.
fn copy(folder: &TempDir, to: &TempDir) {
    for file in ["queue.db", "queue.db-wal"] {
        fs::copy(folder.path().join(file), to.path().join(file)).expect("copy the file");
    }
}

#[tokio::test]
async fn dropping_the_handle_writes_what_was_accepted() {
    let (folder, clock) = (tempfile::tempdir().expect("a folder"), Clock::manual(START));
    let queue = open(&folder, &clock);
    {
        let mut unheard = pin!(queue.push(job(1, Priority::High), None));
        drop(asked(unheard.as_mut()).await);
    }
    drop(queue);
    assert_eq!(told(&claim(&open(&folder, &clock), 9).await), [(id(1), 0, 1)]);
}

/// Polls once, so that the request is on its way; the answer may be there already.
async fn asked<F: Future>(mut future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(answer) => Poll::Ready(Some(answer)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

#[tokio::test]
async fn jobs_for_a_worker_that_went_away_are_in_line_again_before_their_lease_lapses() {
    let (folder, clock) = (tempfile::tempdir().expect("a folder"), Clock::system());
    let queue = open(&folder, &clock);
    push(&queue, 0..4).await;
    loop {
        let mut unheard = pin!(queue.claim(4, Duration::ZERO));
        let Some(heard) = asked(unheard.as_mut()).await else {
            // Answers come in order, so the claim has its own by now, and nobody looks at it.
            assert_eq!(queue.depth().await.expect("depth").in_flight, [0, 4, 0]);
            break;
        };
        // The thread was quicker than one poll.
        for one in heard.expect("claim") {
            queue.again(one.ticket, Duration::ZERO, false).await.expect("again");
        }
    }
    let begun = Instant::now();
    while queue.depth().await.expect("depth").ready != [0, 4, 0] {
        assert!(begun.elapsed() < PATIENCE, "{:?}", queue.depth().await);
        sleep(Duration::from_millis(5)).await;
    }
    let claimed = claim(&queue, 9).await;
    assert!(claimed.len() == 4 && claimed.iter().all(|one| one.deliveries == 1), "{claimed:?}");
}

#[tokio::test]
async fn a_file_that_cannot_be_written_is_told_and_lived_with() {
    let (folder, clock) = (tempfile::tempdir().expect("a folder"), Clock::system());
    let queue = open(&folder, &clock);
    push(&queue, 0..3).await;
    let before = claim(&queue, 1).await;
    queue.hold_credits(&holder(1), [2, 0, 0]).await.expect("hold credits");
    let other = Connection::open(folder.path().join("queue.db")).expect("open the file");
    other.execute_batch("ALTER TABLE jobs RENAME TO away").expect("rename the table");
    for _ in 0..2 {
        let refused = queue.push(job(9, Priority::Normal), Some(&holder(1))).await;
        assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
    }
    other.execute_batch("ALTER TABLE away RENAME TO jobs").expect("rename the table");
    // The rules began again from the file: no credit, no lease, and nothing that was refused.
    let depth = queue.depth().await.expect("depth");
    assert_eq!((depth.ready, depth.total()), ([0, 3, 0], 3));
    queue.done(&[before[0].ticket]).await.expect("done");
    assert_eq!(told(&claim(&queue, 9).await), [(id(0), 0, 2), (id(1), 0, 1), (id(2), 0, 1)]);
}

#[tokio::test]
async fn a_job_that_cannot_be_read_is_left_to_the_sweep() {
    let (folder, clock) = (tempfile::tempdir().expect("a folder"), Clock::system());
    let queue = open(&folder, &clock);
    push(&queue, 0..3).await;
    drop(queue);
    let other = Connection::open(folder.path().join("queue.db")).expect("open the file");
    other.execute_batch("UPDATE jobs SET payload = '{}' WHERE seq = 2").expect("spoil a row");
    let queue = open(&folder, &clock);
    assert_eq!(told(&claim(&queue, 9).await), [(id(0), 0, 1), (id(2), 0, 1)]);
    let rows: i64 = other.query_row("SELECT COUNT(*) FROM jobs", [], |row| row.get(0)).expect("count");
    assert_eq!(rows, 2);
}

#[tokio::test]
async fn others_can_look_into_the_file() {
    let (folder, clock) = (tempfile::tempdir().expect("a folder"), Clock::manual(START));
    let path = folder.path().join("queue.db");
    assert!(peek_depth(&path, &clock).is_err(), "there is no file");
    let queue = open(&folder, &clock);
    assert_eq!(peek_depth(&path, &clock).expect("look"), Depth::default());
    push(&queue, 0..3).await;
    queue.push(job(3, Priority::Low), None).await.expect("push");
    let claimed = claim(&queue, 2).await;
    queue.again(claimed[0].ticket, Duration::from_secs(60), true).await.expect("again");
    clock.advance(Duration::from_secs(5));
    let expected = Depth {
        ready: [0, 2, 1],
        delayed: [0, 1, 0],
        oldest: Some(Duration::from_secs(5)),
        ..Depth::default()
    };
    assert_eq!(peek_depth(&path, &clock).expect("look"), expected);
    drop(queue);
    assert_eq!(peek_depth(&path, &clock).expect("look"), expected);
}

#[tokio::test]
async fn a_file_has_one_name_for_ever_and_another_file_another() {
    let (folder, other, clock) = (
        tempfile::tempdir().expect("a folder"),
        tempfile::tempdir().expect("a folder"),
        Clock::manual(START),
    );
    let name = open(&folder, &clock).incarnation().await.expect("a name");
    assert_eq!(open(&folder, &clock).incarnation().await.expect("a name"), name);
    assert_ne!(open(&other, &clock).incarnation().await.expect("a name"), name);
}

fn hand_over(queue: &SqliteQueue, n: u64) -> bool {
    queue.hand_over(&Arc::new(job(n, Priority::Normal)), &holder(1))
}

async fn name(queue: &SqliteQueue) -> String {
    queue.incarnation().await.expect("a name")
}

#[tokio::test]
async fn a_job_that_is_handed_over_spends_its_credit_and_is_in_line() {
    let (folder, clock) = (tempfile::tempdir().expect("a folder"), Clock::system());
    let queue = open_to(Writing::Behind, &folder, &clock);
    assert_eq!(queue.hold_credits(&holder(1), [0, 2, 0]).await.expect("hold credits").held, [0, 2, 0]);
    assert!(hand_over(&queue, 1) && hand_over(&queue, 1), "the second is the same job");
    let depth = queue.depth().await.expect("depth");
    assert_eq!((depth.ready, depth.credited), ([0, 1, 0], [0, 0, 0]));
    assert_eq!(told(&claim(&queue, 9).await), [(id(1), 0, 1)]);
    drop(queue);
    assert!(!hand_over(&open(&folder, &clock), 2), "who waits for the file pushes");
}

#[tokio::test]
async fn a_file_that_may_lack_jobs_has_another_name() {
    let (folder, killed) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let clock = Clock::manual(START);
    let first = name(&open(&folder, &clock)).await;
    let queue = open_to(Writing::Behind, &folder, &clock);
    assert_eq!(name(&queue).await, first);
    assert!(hand_over(&queue, 1));
    copy(&folder, &killed);
    drop(queue);
    for writing in [Writing::Through, Writing::Behind] {
        assert_ne!(name(&open_to(writing, &killed, &clock)).await, first, "killed");
        let queue = open_to(writing, &folder, &clock);
        assert_eq!(name(&queue).await, first, "ended with all jobs in the file");
        assert_eq!(queue.depth().await.expect("depth").ready, [0, 1, 0]);
    }
}

#[tokio::test]
async fn what_was_handed_over_is_kept_while_the_file_cannot_be_written() {
    let (folder, clock) = (tempfile::tempdir().expect("a folder"), Clock::system());
    let queue = open_to(Writing::Behind, &folder, &clock);
    let first = name(&queue).await;
    let other = Connection::open(folder.path().join("queue.db")).expect("open the file");
    other.execute_batch("ALTER TABLE jobs RENAME TO away").expect("rename the table");
    assert!(hand_over(&queue, 1), "nobody knows yet");
    until("refused", || !hand_over(&queue, 2)).await;
    other.execute_batch("ALTER TABLE away RENAME TO jobs").expect("rename the table");
    until("taken again", || hand_over(&queue, 3)).await;
    let ids: Vec<_> = claim(&queue, 9).await.iter().map(|one| one.job.id).collect();
    assert!(ids.contains(&id(1)) && ids.contains(&id(3)), "{ids:?}");
    drop(queue);
    assert_eq!(name(&open(&folder, &clock)).await, first, "nothing was lost");

    let queue = open_to(Writing::Behind, &folder, &clock);
    other.execute_batch("ALTER TABLE jobs RENAME TO away").expect("rename the table");
    assert!(hand_over(&queue, 4));
    drop(queue);
    other.execute_batch("ALTER TABLE away RENAME TO jobs").expect("rename the table");
    assert_ne!(name(&open(&folder, &clock)).await, first, "it ended without a job");
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "not {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn who_waits_is_woken_by_a_job_that_is_handed_over() {
    let (folder, clock) = (tempfile::tempdir().expect("a folder"), Clock::system());
    let queue = open_to(Writing::Behind, &folder, &clock);
    let mut waiting = pin!(queue.claim(1, PATIENCE));
    assert!(asked(waiting.as_mut()).await.is_none());
    assert!(hand_over(&queue, 1));
    assert_eq!(told(&waiting.await.expect("claim")), [(id(1), 0, 1)]);
}

#[tokio::test]
async fn a_job_whose_credit_lapsed_is_kept_until_there_is_room() {
    let (folder, clock) = (tempfile::tempdir().expect("a folder"), Clock::system());
    let queue = open_to(Writing::Behind, &folder, &clock);
    push(&queue, 0..9).await;
    assert!(hand_over(&queue, 9), "nobody knows yet that normal jobs have no room");
    until("refused", || !hand_over(&queue, 9)).await;
    assert_eq!(queue.depth().await.expect("depth").ready, [0, 9, 0]);
    let claimed = claim(&queue, 1).await;
    queue.done(&[claimed[0].ticket]).await.expect("done");
    assert_eq!(queue.depth().await.expect("depth").ready, [0, 9, 0]);
    until("taken again", || hand_over(&queue, 9)).await;
    assert_eq!(claim(&queue, 10).await.last().map(|one| one.job.id), Some(id(9)));
}

#[tokio::test]
async fn more_than_a_turn_can_be_owed_and_others_are_told_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("queue.db");
    let settings = Settings::with_capacity(5000);
    let queue = SqliteQueue::open(&path, settings, Writing::Behind, Clock::system()).expect("open the queue");
    let other = Connection::open(&path).expect("open the file");
    other.execute_batch("BEGIN IMMEDIATE").expect("lock the file");
    let handed = (0..3000).take_while(|n| hand_over(&queue, *n)).count();
    assert!(handed > 2 * 1024, "{handed}");
    other.execute_batch("ALTER TABLE jobs RENAME TO away; COMMIT").expect("rename the table");
    until("refused", || !hand_over(&queue, 9999)).await;
    let begun = Instant::now();
    assert!(queue.depth().await.is_err(), "nothing is written");
    assert!(begun.elapsed() < DEADLINE / 2, "{:?}", begun.elapsed());
    other.execute_batch("ALTER TABLE away RENAME TO jobs").expect("rename the table");
    until("taken again", || hand_over(&queue, 0)).await;
    drop(queue);
    let rows: i64 = other.query_row("SELECT COUNT(*) FROM jobs", [], |row| row.get(0)).expect("count");
    assert!(rows >= i64::try_from(handed).unwrap_or(0), "{rows} of {handed}");
}
