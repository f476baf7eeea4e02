//! Bodies that are passed on as they come: in a runtime of more than one thread, when many come at once.

use futures_util::future::join_all;

use super::{super::OVERLAP_BELOW, *};
use crate::storage::{
    BodyError, Error, PutError,
    conformance::{Body, End, content, envelope, frames, key, read},
};

const MANY: usize = 4 * OVERLAP_BELOW;

const SIZE: usize = 20 * SMALL_BODY;

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn what_is_passed_on_is_what_came() {
    let (blobs, root) = fresh(NONE, &Budget::new(PLENTY));
    let put = async |number: usize| {
        let (key, content) = (key(), content(SIZE + number, number as u64));
        let mut body = Body::new(frames(&content, &[1, 70_000, 300])).announcing(content.len());
        if number.is_multiple_of(2) {
            body = body.hesitant();
        }
        let seal = blobs.put(&key, &envelope("a"), &mut body).await.unwrap();
        assert_eq!(seal.size, content.len() as u64);
        assert!(read(&blobs, &key, None).await.unwrap().1 == content);
    };
    join_all((0..MANY).map(put)).await;
    assert_eq!(staged(&root), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_body_that_breaks_off_leaves_nothing() {
    let (blobs, root) = fresh(NONE, &Budget::new(PLENTY));
    let put = async |_| {
        let (key, content) = (key(), content(SIZE, 1));
        let gone = End::Broken(BodyError::Client { received: SIZE as u64 });
        let mut body = Body::new(frames(&content, &[50_000])).announcing(SIZE + 1).ending(gone);
        let outcome = blobs.put(&key, &envelope("a"), &mut body).await;
        assert!(matches!(outcome, Err(PutError::Body(BodyError::Client { .. }))), "{outcome:?}");
        assert!(matches!(read(&blobs, &key, None).await, Err(Error::NotFound)));
    };
    join_all((0..MANY).map(put)).await;
    until("staged files", 0, || staged(&root)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn nothing_is_passed_on_while_memory_is_nearly_gone() {
    let budget = Budget::new(PLENTY);
    let (blobs, root) = fresh(NONE, &budget);
    let content = content(SIZE, 1);
    let put = async |_| {
        let mut body = Body::new(frames(&content, &[50_000])).announcing(SIZE);
        blobs.put(&key(), &envelope("a"), &mut body).await
    };
    budget.hold();
    let all = join_all((0..MANY).map(put));
    let held = async {
        // All of them have begun with the first poll.
        sleep(Duration::from_millis(100)).await;
        let seen = (staged(&root), budget.used_bytes());
        budget.release();
        seen
    };
    let (outcomes, seen) = tokio::join!(all, held);
    assert_eq!(seen, (0, 0));
    assert!(outcomes.iter().all(Result::is_ok));
}
