//! Repeats of uploads to a store that keeps no seals.

use std::sync::atomic::Ordering;

use headworks_shared::{
    clock::Clock,
    http::{Code, Context, Problem, Reply},
    meta::Record,
    model::{Hasher, JobPayload, Priority, Scope, UploadId},
    storage::Key,
};
use http::{HeaderMap, Request, header};

use super::{simple, wants::Wants};
use crate::testing::{House, Pieces};

/// Sends `text` to the path `a`, under the key `k`.
async fn send(house: &House, text: &'static str, digest: Option<&str>) -> (Result<Reply, Problem>, usize) {
    let mut request =
        Request::put("/v1/files/a").header("idempotency-key", "k").header(header::CONTENT_LENGTH, text.len());
    if let Some(digest) = digest {
        request = request.header("content-digest", digest);
    }
    let wants = Wants::of(&request.body(()).unwrap().into_parts().0).unwrap();
    let app = &house.ingest.0;
    let (_permit, credit) = app.admission.admit(Priority::Normal).await.unwrap();
    let context = Context::of(&HeaderMap::new(), &Clock::system());
    let pieces = Pieces::of(text);
    let read = std::sync::Arc::clone(&pieces.read);
    let ended = simple::one(app, &context, "a".parse().unwrap(), &wants, pieces, credit).await;
    (ended.map(|(_, reply)| reply).map_err(|(_, problem)| problem), read.load(Ordering::Relaxed))
}

/// Brings the one upload on the queue to its end.
async fn persist(house: &House, failure: Option<&'static str>) -> UploadId {
    let lease = house.stack.queue.claim(1, std::time::Duration::from_secs(5)).await.unwrap();
    let job = std::sync::Arc::clone(&lease[0].job);
    let JobPayload::ObjectStoredV1 { envelope, seal, .. } = job.payload.clone();
    let record = Record { id: job.id, envelope, seal, failure };
    house.stack.meta.persist(&[record], Clock::system().now()).await.unwrap();
    job.id
}

fn id(answer: &Result<Reply, Problem>) -> String {
    answer.as_ref().unwrap().headers()[header::ETAG].to_str().unwrap().to_owned()
}

fn sha256(text: &str) -> String {
    let mut hasher = Hasher::new(true, false);
    hasher.update(text.as_bytes());
    hasher.digests().to_header().split(',').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_repeat_is_known_by_the_bytes_that_are_stored() {
    let house = House::new().await;
    let (first, _) = send(&house, "hello", None).await;
    let (again, read) = send(&house, "hello", None).await;
    assert_eq!((id(&again), read), (id(&first), 1));
    let (proven, read) = send(&house, "hello", Some(&sha256("hello"))).await;
    assert_eq!((id(&proven), read), (id(&first), 0), "a digest proves it before the body");
    let last =
        |answer: &Result<Reply, Problem>| answer.as_ref().unwrap().headers().contains_key(header::CONNECTION);
    assert!(
        last(&proven) && !last(&again) && !last(&first),
        "only where the body was not read it is the last answer"
    );
    for (other, digest) in [("jello", None), ("jello", Some(sha256("jello"))), ("hello!", None)] {
        let (refused, _) = send(&house, other, digest.as_deref()).await;
        assert_eq!(refused.unwrap_err().code(), Code::KeyReused, "{other}");
    }
}

#[tokio::test]
async fn a_repeat_is_known_by_the_ledger_without_reading_the_object() {
    let house = House::new().await;
    let (first, _) = send(&house, "hello", None).await;
    persist(&house, None).await;
    let before = house.blobs.reads();
    let (again, _) = send(&house, "hello", None).await;
    assert_eq!((id(&again), house.blobs.reads()), (id(&first), before));
    let (other, _) = send(&house, "jello", None).await;
    assert_eq!(other.unwrap_err().code(), Code::KeyReused);
}

#[tokio::test]
async fn what_is_deleted_while_its_repeat_is_looked_up_does_not_come_again() {
    let house = House::new().await;
    send(&house, "hello", None).await.0.unwrap();
    let id = persist(&house, None).await;
    house.blobs.delete_before_look(&house.stack.meta, id);
    let (again, read) = send(&house, "hello", None).await;
    assert_eq!((again.unwrap_err().code(), read), (Code::Deleted, 0));
}

#[tokio::test]
async fn what_is_stored_while_its_repeat_is_looked_up_is_found() {
    let house = House::new().await;
    let (first, _) = send(&house, "hello", None).await;
    persist(&house, None).await;
    house.blobs.look_early();
    let (again, _) = send(&house, "hello", None).await;
    assert_eq!(id(&again), id(&first));
}

#[tokio::test]
async fn what_the_ledger_has_and_the_store_has_not_does_not_come_again() {
    let ends = [
        (None, Code::ObjectMissing),
        (Some(Code::Exists.as_str()), Code::Exists),
        (Some(Code::ObjectDamaged.as_str()), Code::KeyReused),
    ];
    for (failure, code) in ends {
        let house = House::new().await;
        send(&house, "hello", None).await.0.unwrap();
        let id = persist(&house, failure).await;
        house.stack.blobs.delete(&Key::object(&Scope::default(), id)).await.unwrap();
        let (again, read) = send(&house, "hello", None).await;
        assert_eq!((again.unwrap_err().code(), read), (code, 0), "after {failure:?}");
    }
}
