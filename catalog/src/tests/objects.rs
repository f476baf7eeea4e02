//! What is told of objects, and their listings.

use serde_json::json;

use super::*;

#[tokio::test]
async fn an_upload_is_told_by_its_id_from_its_acknowledgement_on() {
    let world = World::new();
    let record = world.queue("a/b.txt", Some("text/plain"), b"123456789").await;
    let target = format!("/v1/objects/{}", record.id);
    let queued = world.get(&target).await;
    let mut expected = json!({
        "id": record.id, "path": "a/b.txt", "version": null, "size": 9, "content_type": "text/plain",
        "sniffed_type": "image/gif",
        "digest": { "crc64nvme": "ae8b14860a799888",
            "sha256": "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225" },
        "status": "queued", "received_at": "2026-11-21T05:12:00.5Z", "stored_at": null,
    });
    assert_eq!((queued.status, queued.json()), (StatusCode::OK, expected.clone()));
    assert_eq!(queued.field("etag"), None, "what is told of it will still change");

    world.persist(&record).await;
    let stored = world.get(&target).await;
    expected["version"] = json!(1);
    expected["status"] = json!("stored");
    expected["stored_at"] = json!("2026-11-21T05:12:10.5Z");
    assert_eq!((stored.status, stored.json()), (StatusCode::OK, expected));
    assert_eq!(stored.field("etag"), Some(format!("\"{}\"", record.id).as_str()));
    let again = world.ask(Method::GET, &target, &[("if-none-match", stored.field("etag").unwrap())]).await;
    assert_eq!(again.status, StatusCode::NOT_MODIFIED);
}

#[tokio::test]
async fn a_failed_upload_says_why_and_has_no_bytes() {
    let world = World::new();
    let record = world.queue("a", None, b"x").await;
    world.persist(&Record { failure: Some(Code::ObjectDamaged.as_str()), ..record.clone() }).await;
    let target = format!("/v1/objects/{}", record.id);
    let failed = world.get(&target).await;
    assert_eq!(failed.status, StatusCode::OK);
    assert_eq!(
        failed.json(),
        json!({ "id": record.id, "status": "failed", "reason": "object_damaged", "received_at": "2026-11-21T05:12:00.5Z" })
    );
    world.get(&format!("{target}/content")).await.assert_problem(Code::NotFound);
    world.get(&format!("{target}/versions")).await.assert_problem(Code::NotFound);
}

#[tokio::test]
async fn what_never_was_is_not_found() {
    let world = World::new();
    let id = world.stack.clock.upload_id();
    for rest in ["", "/content", "/versions"] {
        world.get(&format!("/v1/objects/{id}{rest}")).await.assert_problem(Code::NotFound);
    }
    world.get("/v1/files/a").await.assert_problem(Code::NotFound);
    world.ask(Method::DELETE, &format!("/v1/objects/{id}"), &[]).await.assert_problem(Code::NotFound);
}

#[tokio::test]
async fn a_scope_sees_nothing_of_another() {
    let world = World::new();
    let acme = Scope::new("acme", "web").unwrap();
    let stored = world.queue_in(&acme, "a", None, b"x").await;
    world.persist(&stored).await;
    let queued = world.queue_in(&acme, "b", None, b"y").await;
    let own = [("x-org-id", "acme"), ("x-project-id", "web")];
    for fields in [&[][..], &[("x-org-id", "acme")], &[("x-project-id", "web")]] {
        for id in [stored.id, queued.id] {
            let target = format!("/v1/objects/{id}");
            world.ask(Method::GET, &target, fields).await.assert_problem(Code::NotFound);
            let content = format!("{target}/content");
            world.ask(Method::GET, &content, fields).await.assert_problem(Code::NotFound);
            world.ask(Method::DELETE, &target, fields).await.assert_problem(Code::NotFound);
            assert_eq!(world.ask(Method::GET, &content, &own).await.status, StatusCode::OK);
        }
        world.ask(Method::GET, "/v1/files/a", fields).await.assert_problem(Code::NotFound);
        let listed = world.ask(Method::GET, "/v1/objects", fields).await;
        assert_eq!(listed.json()["objects"], json!([]));
    }
    world.ask(Method::GET, "/v1/objects", &[("x-org-id", "../acme")]).await.assert_problem(Code::BadScope);
}

#[tokio::test]
async fn pages_lead_through_all_paths_once_and_in_order() {
    let world = World::new();
    for path in ["b/1", "a/2", "a/1", "a/3", "a", "a b"] {
        world.store(path, None, b"x").await;
    }
    world.queue("a/0", None, b"not stored yet").await;
    assert_eq!(walk(&world, "limit=2").await, [vec!["a", "a b"], vec!["a/1", "a/2"], vec!["a/3", "b/1"]]);
    assert_eq!(walk(&world, "limit=2&prefix=a/").await, [vec!["a/1", "a/2"], vec!["a/3"]]);
    assert_eq!(walk(&world, "prefix=a+b").await, [["a b"]]);
    assert_eq!(walk(&world, "prefix=c").await, [Vec::<String>::new()]);
    world.get("/v1/objects?limit=0").await.assert_problem(Code::BadQuery);
}

async fn walk(world: &World, query: &str) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    let mut target = format!("/v1/objects?{query}");
    loop {
        let page = world.get(&target).await.json();
        let path = |object: &Value| object["path"].as_str().unwrap().to_owned();
        pages.push(page["objects"].as_array().unwrap().iter().map(path).collect());
        let Some(cursor) = page["next_cursor"].as_str() else { return pages };
        target = format!("/v1/objects?{query}&cursor={cursor}");
    }
}

#[tokio::test]
async fn versions_are_told_newest_first_by_any_upload_of_the_path() {
    let world = World::new();
    let first = world.store("a", None, b"1").await;
    let second = world.store("a", None, b"22").await;
    world.store("b", None, b"other").await;
    let waiting = world.queue("a", None, b"333").await.id;
    for id in [first, second, waiting] {
        let told = world.get(&format!("/v1/objects/{id}/versions")).await.json();
        let ids: Vec<_> = told["versions"].as_array().unwrap().iter().map(|version| &version["id"]).collect();
        assert_eq!(ids, [&json!(second), &json!(first)]);
        assert_eq!((&told["versions"][0]["version"], &told["more"]), (&json!(2), &json!(false)));
    }
    let one = world.get(&format!("/v1/objects/{first}/versions?limit=1")).await.json();
    assert_eq!((one["versions"].as_array().unwrap().len(), &one["more"]), (1, &json!(true)));
    assert_eq!(world.get("/v1/objects").await.json()["objects"][0]["id"], json!(second));
}

#[tokio::test]
async fn head_tells_the_length_and_sends_nothing() {
    let world = World::new();
    let id = world.store("a", None, b"12345").await;
    for target in [
        "/v1/objects".to_owned(),
        format!("/v1/objects/{id}"),
        format!("/v1/objects/{id}/versions"),
        format!("/v1/objects/{id}/content"),
        "/v1/files/a".to_owned(),
    ] {
        let (get, head) = (world.get(&target).await, world.ask(Method::HEAD, &target, &[]).await);
        assert_eq!(head.body, "", "{target}");
        let length = get.body.len().to_string();
        assert_eq!(head.field("content-length"), Some(length.as_str()), "{target}");
        let mut told = get.headers.clone();
        told.insert("content-length", length.parse().unwrap());
        assert_eq!((head.status, head.headers), (get.status, told), "{target}");
    }
}

#[tokio::test]
async fn bytes_are_counted_as_they_are_sent() {
    let world = World::new();
    world.store("a", None, b"12345").await;
    world.get("/v1/files/a").await;
    world.ask(Method::HEAD, "/v1/files/a", &[]).await;
    world.ask(Method::GET, "/v1/files/a", &[("range", "bytes=0-1")]).await;
    assert!(world.stack.registry.render().contains("headworks_catalog_sent_bytes_total 7\n"));
}
