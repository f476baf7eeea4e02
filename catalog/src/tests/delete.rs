//! Deletion.

use headworks_shared::{meta::LedgerRow, model::State};

use super::*;

#[tokio::test]
async fn a_deleted_object_is_gone_in_every_way_and_stays_so() {
    let world = World::new();
    let first = world.store("a", None, b"1").await;
    let second = world.store("a", None, b"22").await;
    let target = format!("/v1/objects/{second}");
    for time in ["first", "again"] {
        let answer = world.ask(Method::DELETE, &target, &[]).await;
        assert_eq!((answer.status, answer.body.len()), (StatusCode::NO_CONTENT, 0), "{time}");
    }
    for rest in ["", "/content", "/versions"] {
        world.get(&format!("{target}{rest}")).await.assert_problem(Code::Deleted);
    }
    assert!(!world.file_of(second).exists());
    assert_eq!(world.get("/v1/files/a").await.body, "1", "the version before is the newest again");
    assert_eq!(world.get("/v1/objects").await.json()["objects"][0]["id"], first.to_string());
    assert!(world.stack.meta.unpurged(10).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_upload_may_be_deleted_before_its_job_has_run() {
    let world = World::new();
    let record = world.queue("a", None, b"1").await;
    let target = format!("/v1/objects/{}", record.id);
    assert_eq!(world.ask(Method::DELETE, &target, &[]).await.status, StatusCode::NO_CONTENT);
    assert!(!world.file_of(record.id).exists());
    assert_eq!(world.persist(&record).await, Verdict::Known(State::Deleted));
    world.get(&target).await.assert_problem(Code::Deleted);
}

#[tokio::test]
async fn a_condition_that_does_not_hold_deletes_nothing() {
    let world = World::new();
    let id = world.store("a", None, b"1").await;
    let (target, tag) = (format!("/v1/objects/{id}"), format!("\"{id}\""));
    let other = format!("\"{}\"", world.stack.clock.upload_id());
    for field in [("if-match", other.as_str()), ("if-none-match", "*")] {
        world.ask(Method::DELETE, &target, &[field]).await.assert_problem(Code::PreconditionFailed);
    }
    assert_eq!(world.get("/v1/files/a").await.body, "1");
    let answer = world.ask(Method::DELETE, &target, &[("if-match", &tag)]).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn deleting_a_failed_upload_is_no_error() {
    let world = World::new();
    let record = world.queue("a", None, b"x").await;
    world.persist(&Record { failure: Some(Code::ObjectDamaged.as_str()), ..record.clone() }).await;
    let answer = world.ask(Method::DELETE, &format!("/v1/objects/{}", record.id), &[]).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn bytes_that_cannot_be_removed_are_left_to_the_sweep() {
    let world = World::new();
    let id = world.store("a", None, b"1").await;
    world.break_folder_of(id);
    let target = format!("/v1/objects/{id}");
    assert_eq!(world.ask(Method::DELETE, &target, &[]).await.status, StatusCode::NO_CONTENT);
    world.get(&target).await.assert_problem(Code::Deleted);
    assert_eq!(world.stack.meta.unpurged(10).await.unwrap(), [(Scope::default(), id)]);
}

#[tokio::test]
async fn a_client_that_goes_away_does_not_cut_a_deletion_short() {
    let gate = Arc::new(stores::Gate::before(stores::Verb::Delete));
    let world = World::over(|blobs| Arc::new(stores::Gated { blobs, gate: Arc::clone(&gate) }));
    let record = world.queue("a", None, b"1").await;
    world.persist(&record).await;
    let request = Request::delete(format!("/v1/objects/{}", record.id)).body(()).unwrap();
    let (head, ()) = request.into_parts();
    tokio::select! {
        answer = world.catalog.handle(&head, "r-1") => panic!("answered before the bytes were gone: {answer:?}"),
        () = gate.reached.notified() => {}
    }
    gate.open.notify_one();
    assert!(world.stack.tasks.drain(Duration::from_secs(10)).await);
    assert!(!world.file_of(record.id).exists());
    let row =
        LedgerRow { id: record.id, scope: Scope::default(), state: State::Deleted, purged: true, size: 0 };
    assert_eq!(world.stack.meta.ledger_page(None, 10).await.unwrap(), [row]);
}
