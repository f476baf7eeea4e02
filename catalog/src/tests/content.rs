//! The bytes of objects.

use super::*;

const DATE: &str = "Sat, 21 Nov 2026 05:12:00 GMT";

#[tokio::test]
async fn bytes_are_served_by_id_at_once_and_by_path_when_stored() {
    let world = World::new();
    let content: Vec<u8> = (0..700_000_u32).map(|at| at.to_le_bytes()[1]).collect();
    let record = world.queue("dir/a.gif", None, &content).await;
    let by_id = format!("/v1/objects/{}/content", record.id);
    world.get("/v1/files/dir/a.gif").await.assert_problem(Code::NotFound);
    let queued = world.get(&by_id).await;
    world.persist(&record).await;
    let (stored, by_path) = (world.get(&by_id).await, world.get("/v1/files/dir/a.gif").await);
    assert_eq!(queued.headers, stored.headers, "a download may be continued over the change");
    for answer in [&queued, &by_path] {
        assert!(answer.status == StatusCode::OK && answer.body == content);
        for (name, value) in [
            ("content-type", "image/gif"),
            ("content-length", "700000"),
            ("accept-ranges", "bytes"),
            ("etag", &format!("\"{}\"", record.id)),
            ("repr-digest", &record.seal.digests.to_header()),
            ("x-content-type-options", "nosniff"),
            ("content-security-policy", "sandbox"),
            ("content-disposition", "inline; filename*=UTF-8''a.gif"),
            ("vary", "X-Org-Id, X-Project-Id"),
            ("cache-control", "private, no-cache"),
        ] {
            assert_eq!(answer.field(name), Some(value), "{name}");
        }
        assert_eq!(answer.field("content-range"), None);
    }
    assert_eq!(queued.field("last-modified"), Some(DATE), "when the upload began");
    assert_eq!(
        by_path.field("last-modified"),
        Some("Sat, 21 Nov 2026 05:12:10 GMT"),
        "when it became the newest"
    );
}

#[tokio::test]
async fn a_page_that_somebody_uploaded_is_saved_and_not_shown() {
    let world = World::new();
    world.store("x.html", Some("text/html"), b"<script>").await;
    let answer = world.get("/v1/files/x.html").await;
    assert_eq!(answer.field("content-type"), Some("text/html"));
    assert_eq!(answer.field("content-disposition"), Some("attachment; filename*=UTF-8''x.html"));
}

#[tokio::test]
async fn a_range_is_sent_as_a_part_of_the_whole() {
    let world = World::new();
    let record = world.queue("a", None, b"0123456789").await;
    let target = format!("/v1/objects/{}/content", record.id);
    for (range, body, content_range) in [
        ("bytes=0-0", "0", "bytes 0-0/10"),
        ("bytes=2-5", "2345", "bytes 2-5/10"),
        ("bytes=7-", "789", "bytes 7-9/10"),
        ("bytes=-4", "6789", "bytes 6-9/10"),
        ("bytes=0-99", "0123456789", "bytes 0-9/10"),
    ] {
        let answer = world.ask(Method::GET, &target, &[("range", range)]).await;
        assert_eq!(
            (answer.status, &answer.body[..]),
            (StatusCode::PARTIAL_CONTENT, body.as_bytes()),
            "{range}"
        );
        assert_eq!(answer.field("content-range"), Some(content_range));
        assert_eq!(answer.field("content-length"), Some(body.len().to_string().as_str()));
        let whole = record.seal.digests.to_header();
        assert_eq!(answer.field("repr-digest"), Some(whole.as_str()), "of the whole");
    }
    let several = world.ask(Method::GET, &target, &[("range", "bytes=0-1,4-5")]).await;
    assert_eq!((several.status, &several.body[..]), (StatusCode::OK, &b"0123456789"[..]));
    let outside = world.ask(Method::GET, &target, &[("range", "bytes=10-")]).await;
    outside.assert_problem(Code::RangeNotSatisfiable);
    assert_eq!(outside.field("content-range"), Some("bytes */10"));
    let head = world.ask(Method::HEAD, &target, &[("range", "bytes=0-1")]).await;
    assert_eq!(
        (head.status, head.field("content-length")),
        (StatusCode::OK, Some("10")),
        "a range is for GET"
    );
}

#[tokio::test]
async fn an_empty_object_is_served() {
    let world = World::new();
    world.store("empty", None, b"").await;
    let answer = world.ask(Method::GET, "/v1/files/empty", &[("range", "bytes=-5")]).await;
    assert_eq!(
        (answer.status, answer.field("content-length"), answer.body.len()),
        (StatusCode::OK, Some("0"), 0)
    );
    let answer = world.ask(Method::GET, "/v1/files/empty", &[("range", "bytes=0-")]).await;
    answer.assert_problem(Code::RangeNotSatisfiable);
}

#[tokio::test]
async fn conditions_come_before_ranges() {
    let world = World::new();
    let id = world.store("a", None, b"0123456789").await;
    let (tag, target) = (format!("\"{id}\""), format!("/v1/objects/{id}/content"));
    for (fields, status) in [
        (&[("if-none-match", tag.as_str()), ("range", "bytes=99-")][..], StatusCode::NOT_MODIFIED),
        (&[("if-modified-since", DATE)], StatusCode::NOT_MODIFIED),
        (&[("if-match", "\"other\""), ("range", "bytes=0-1")], StatusCode::PRECONDITION_FAILED),
        (&[("if-range", &tag), ("range", "bytes=0-1")], StatusCode::PARTIAL_CONTENT),
        (&[("if-range", DATE), ("range", "bytes=0-1")], StatusCode::PARTIAL_CONTENT),
        (&[("if-range", "\"other\""), ("range", "bytes=99-")], StatusCode::OK),
    ] {
        for method in [Method::GET, Method::HEAD] {
            let ranged = status == StatusCode::PARTIAL_CONTENT && method == Method::HEAD;
            let expected = if ranged { StatusCode::OK } else { status };
            let answer = world.ask(method.clone(), &target, fields).await;
            assert_eq!(answer.status, expected, "{method} {fields:?}");
        }
    }
    let unmodified = world.ask(Method::GET, &target, &[("if-none-match", &tag)]).await;
    assert_eq!((unmodified.field("etag"), unmodified.body.len()), (Some(tag.as_str()), 0));
    assert_eq!(unmodified.field("last-modified"), Some(DATE));
    assert_eq!(unmodified.field("content-length"), None);
}

#[tokio::test]
async fn a_slow_upload_that_became_the_newest_does_not_hide_behind_a_date() {
    let world = World::new();
    let slow = world.queue("a", None, b"slow").await;
    world.stack.clock.advance(Duration::from_secs(100));
    world.store("a", None, b"quick").await;
    let quick = world.get("/v1/files/a").await;
    let since = [("if-modified-since", quick.field("last-modified").unwrap())];
    assert_eq!(world.ask(Method::GET, "/v1/files/a", &since).await.status, StatusCode::NOT_MODIFIED);
    world.persist(&slow).await;
    assert_eq!(world.ask(Method::GET, "/v1/files/a", &since).await.body, "slow");
}
