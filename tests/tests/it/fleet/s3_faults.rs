//! A store that fails in every way a store can: nothing is half there, the error says what it was, and nothing is left held.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use headworks_shared::{
    model::Seal,
    report::Report,
    storage::{
        Blobs as _, BodyError, Error, Key, PutError,
        conformance::{self, Body, End, content, envelope, frames, key},
    },
};
use headworks_tests::servers::fault::Fault;
use tokio::time::timeout;

use super::s3::{Broken, PART, SENTINEL};

/// The sizes of bodies that are put whole, streamed, and (when nobody says how long they are) in parts.
const SMALL: usize = 10_000;
const STREAMED: usize = 1 << 20;
const PARTS: usize = PART + 100_000;

/// The longest that any put may take here, with all its tries.
const PUT: Duration = Duration::from_secs(30);

/// A put that does not end in time is one whose body was too slow, and so not what any test here waits for.
async fn put(broken: &Broken, key: &Key, mut body: Body) -> Result<Seal, PutError> {
    let late = BodyError::TooSlow { received: 0, waited: PUT };
    timeout(PUT, broken.store.put(key, &envelope("a"), &mut body)).await.unwrap_or(Err(PutError::Body(late)))
}

fn known(content: &Bytes) -> Body {
    Body::of(content)
}

fn unknown(content: &Bytes) -> Body {
    Body::new(frames(content, &[16 << 10]))
}

/// Whether the object is there with these bytes and its envelope.
async fn assert_there(broken: &Broken, key: &Key, content: &Bytes) -> Result<()> {
    let (_, read) = conformance::read(&broken.store, key, None).await?;
    ensure!(read == *content, "other bytes came back");
    let head = broken.store.stat(std::slice::from_ref(key)).await.remove(0)?;
    ensure!(head.envelope == Some(envelope("a")), "{head:?}");
    Ok(())
}

fn assert_unavailable(outcome: &Result<Seal, PutError>) -> Result<()> {
    ensure!(matches!(outcome, Err(PutError::Unavailable { .. })), "{outcome:?}");
    Ok(())
}

#[tokio::test]
async fn what_passes_is_waited_out_by_bodies_that_can_be_sent_again() -> Result<()> {
    let broken = Broken::start().await?;
    let faults = [
        Fault::Status(500),
        Fault::Status(503),
        Fault::StatusAfterBody(503),
        Fault::ResetBeforeBody,
        Fault::ResetAfter(3000),
        Fault::ResetAtTheEnd,
        Fault::LostAnswer,
    ];
    let content = content(SMALL, 1);
    let mut keys = Vec::new();
    for fault in faults {
        for body in [known(&content), unknown(&content)] {
            let key = key();
            broken.proxy.plan("PUT", key.as_str(), fault, 2);
            put(&broken, &key, body).await?;
            ensure!(broken.proxy.left() == 0, "{fault:?} did not come to pass");
            assert_there(&broken, &key, &content).await?;
            broken.proxy.clear();
            keys.push(key);
        }
    }
    broken.assert_clean(&keys.iter().collect::<Vec<_>>()).await
}

#[tokio::test]
async fn a_streamed_body_that_the_store_has_not_touched_is_sent_again() -> Result<()> {
    let broken = Broken::start().await?;
    let content = content(STREAMED, 1);
    let mut keys = Vec::new();
    for fault in [Fault::Status(503), Fault::Status(500), Fault::ResetBeforeBody] {
        let key = key();
        broken.proxy.plan("PUT", key.as_str(), fault, 2);
        put(&broken, &key, known(&content)).await?;
        ensure!(broken.proxy.left() == 0, "{fault:?} did not come to pass");
        assert_there(&broken, &key, &content).await?;
        keys.push(key);
    }
    broken.assert_clean(&keys.iter().collect::<Vec<_>>()).await
}

#[tokio::test]
async fn a_refusal_costs_no_byte_of_the_clients_body() -> Result<()> {
    for status in [503, 500, 403, 400, 412, 507] {
        let broken = Broken::start().await?;
        let (key, content) = (key(), content(STREAMED, 1));
        broken.proxy.plan("PUT", key.as_str(), Fault::Status(status), 9);
        let mut body = known(&content);
        let outcome = timeout(PUT, broken.store.put(&key, &envelope("a"), &mut body)).await?;
        match status {
            412 => ensure!(matches!(outcome, Err(PutError::Exists)), "{outcome:?}"),
            507 => ensure!(matches!(outcome, Err(PutError::Full)), "{outcome:?}"),
            _ => assert_unavailable(&outcome)?,
        }
        use headworks_shared::storage::Source as _;
        ensure!(
            (body.seal().size, broken.proxy.taken()) == (0, 0),
            "{status} cost {} bytes",
            body.seal().size
        );
        let tries = broken.proxy.seen().iter().filter(|line| line.starts_with("PUT")).count();
        ensure!(
            tries == if [500, 503].contains(&status) { 4 } else { 1 },
            "{status} was tried {tries} times"
        );
        broken.assert_clean(&[]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_error_says_what_the_store_said_and_not_what_it_was_sent() -> Result<()> {
    let broken = Broken::start().await?;
    let (key, small, streamed) = (key(), content(SMALL, 1), content(STREAMED, 1));
    broken.proxy.plan("PUT", key.as_str(), Fault::Status(403), 9);
    broken.proxy.plan("GET", key.as_str(), Fault::Status(403), 9);
    let mut texts = Vec::new();
    for body in [known(&small), unknown(&small), known(&streamed)] {
        let Err(error) = put(&broken, &key, body).await else { bail!("a refused body was put") };
        texts.push(Report(&error).to_string());
    }
    let Err(error) = broken.store.read(&key, None).await else { bail!("a refused object was read") };
    texts.push(Report(&error).to_string());
    for text in texts {
        ensure!(text.contains("403 Forbidden: Planned: as planned"), "{text}");
        ensure!(!text.contains("what-was-sent"), "{text}");
    }
    Ok(())
}

#[tokio::test]
async fn a_store_that_is_down_is_reported_as_just_that() -> Result<()> {
    let limit = 6 << 20;
    let bodies = || [content(SMALL, 1), content(STREAMED, 1), content(limit + 1, 1)];
    let broken = Broken::with(|options| options.single_put_limit = limit as u64).await?;
    for (fault, said) in [
        (Fault::Status(503), "503 Service Unavailable: Planned"),
        (Fault::Status(429), "429 Too Many Requests: Planned"),
        (Fault::ResetBeforeBody, "exchange with the store"),
    ] {
        for content in bodies() {
            let key = key();
            broken.proxy.plan("PUT", key.as_str(), fault, 99);
            let Err(error) = put(&broken, &key, known(&content)).await else {
                bail!("{fault:?}: it was put")
            };
            let text = Report(&error).to_string();
            ensure!(text.contains(said) && !text.contains("sent before"), "{fault:?}: {text}");
            broken.proxy.clear();
        }
    }
    broken.assert_clean(&[]).await?;
    let Broken { store, proxy, server: _server, .. } = broken;
    drop(proxy);
    for content in bodies() {
        let Err(error) = store.put(&key(), &envelope("a"), &mut known(&content)).await else {
            bail!("nobody listens, and it was put")
        };
        ensure!(Report(&error).to_string().contains("refused"), "{}", Report(&error));
    }
    Ok(())
}

#[tokio::test]
async fn a_streamed_body_that_breaks_in_the_store_is_nowhere() -> Result<()> {
    let broken = Broken::start().await?;
    let content = content(STREAMED, 1);
    for fault in [
        Fault::StatusAfterBody(500),
        Fault::ResetAfter(1),
        Fault::ResetAfter(300_000),
        Fault::ResetAtTheEnd,
        Fault::StallAfter(300_000),
    ] {
        let key = key();
        broken.proxy.plan("PUT", key.as_str(), fault, 1);
        assert_unavailable(&put(&broken, &key, known(&content)).await)?;
        ensure!(broken.proxy.left() == 0, "{fault:?} did not come to pass");
        let head = broken.store.stat(std::slice::from_ref(&key)).await.remove(0);
        ensure!(matches!(head, Err(Error::NotFound)), "{fault:?}: {head:?}");
        broken.assert_clean(&[]).await.with_context(|| format!("after {fault:?}"))?;
    }
    Ok(())
}

#[tokio::test]
async fn a_lost_answer_is_found_out_about() -> Result<()> {
    let broken = Broken::start().await?;
    let content = content(STREAMED, 1);
    let (key, other) = (key(), key());
    broken.proxy.plan("PUT", key.as_str(), Fault::LostAnswer, 1);
    put(&broken, &key, known(&content)).await?;
    assert_there(&broken, &key, &content).await?;
    // And it is not taken for one's own what somebody else has put meanwhile.
    put(&broken, &other, known(&content)).await?;
    broken.proxy.plan("PUT", other.as_str(), Fault::StatusAfterBody(500), 1);
    let again = put(&broken, &other, known(&content)).await;
    ensure!(matches!(again, Err(PutError::Exists)), "{again:?}");
    broken.assert_clean(&[&key, &other]).await
}

#[tokio::test]
async fn a_store_that_says_nothing_is_given_up_in_time() -> Result<()> {
    let broken = Broken::with(|options| options.answer = Duration::from_secs(1)).await?;
    for body in [known(&content(STREAMED, 1)), known(&content(SMALL, 1)), unknown(&content(PARTS, 1))] {
        let key = key();
        broken.proxy.plan("PUT", key.as_str(), Fault::Silence, 9);
        assert_unavailable(&put(&broken, &key, body).await)?;
        broken.proxy.clear();
        broken.assert_clean(&[]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn bytes_that_add_up_to_something_else_in_the_store_are_removed() -> Result<()> {
    let broken = Broken::start().await?;
    for content in [content(SMALL, 1), content(STREAMED, 1)] {
        let key = key();
        broken.proxy.plan("PUT", key.as_str(), Fault::OtherChecksum, 1);
        let Err(error @ PutError::Unavailable { .. }) = put(&broken, &key, known(&content)).await else {
            bail!("a wrong checksum was taken")
        };
        let text = Report(&error).to_string();
        ensure!(text.contains("add up to 0000000000000000 in the store"), "{text}");
        broken.assert_clean(&[]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn parts_that_fail_are_sent_again_and_their_completion_is_idempotent() -> Result<()> {
    let broken = Broken::start().await?;
    let content = content(PARTS, 1);
    let mut keys = Vec::new();
    for (method, within, fault) in [
        ("POST", "uploads", Fault::Status(503)),
        ("PUT", "partNumber=1", Fault::Status(503)),
        ("PUT", "partNumber=2", Fault::StatusAfterBody(500)),
        ("PUT", "partNumber=2", Fault::LostAnswer),
        ("POST", "uploadId", Fault::Status(500)),
        ("POST", "uploadId", Fault::LostAnswer),
    ] {
        let key = key();
        broken.proxy.plan(method, within, fault, 1);
        put(&broken, &key, unknown(&content)).await?;
        ensure!(broken.proxy.left() == 0, "{fault:?} did not come to pass");
        assert_there(&broken, &key, &content).await?;
        keys.push(key);
    }
    broken.assert_clean(&keys.iter().collect::<Vec<_>>()).await
}

#[tokio::test]
async fn a_full_store_is_full_whatever_way_a_body_goes() -> Result<()> {
    let limit = 6 << 20;
    let broken = Broken::with(|options| options.single_put_limit = limit as u64).await?;
    let (small, streamed) = (content(SMALL, 1), content(STREAMED, 1));
    let (planned, parts) = (content(limit + 1, 1), content(PARTS, 1));
    for (method, within, body) in [
        ("PUT", "/o/", known(&small)),
        ("PUT", "/o/", known(&streamed)),
        ("POST", "uploads", known(&planned)),
        ("PUT", "partNumber=1", known(&planned)),
        ("PUT", "partNumber=2", known(&planned)),
        ("PUT", "partNumber=2", unknown(&parts)),
        ("POST", "uploadId", known(&planned)),
    ] {
        broken.proxy.plan(method, within, Fault::Status(507), 9);
        let outcome = put(&broken, &key(), body).await;
        ensure!(matches!(outcome, Err(PutError::Full)), "{method} {within}: {outcome:?}");
        broken.proxy.clear();
        broken.assert_clean(&[]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn parts_that_come_to_nothing_are_aborted() -> Result<()> {
    let broken = Broken::start().await?;
    let content = content(PARTS, 1);
    for (method, within) in [("POST", "uploads"), ("PUT", "partNumber=2"), ("POST", "uploadId")] {
        let key = key();
        broken.proxy.plan(method, within, Fault::Status(503), 9);
        assert_unavailable(&put(&broken, &key, unknown(&content)).await)?;
        broken.proxy.clear();
        broken.assert_clean(&[]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_abort_has_as_long_as_the_store_may_take() -> Result<()> {
    // Longer than any server of credentials is waited for.
    let broken = Broken::with(|options| options.answer = Duration::from_secs(15)).await?;
    let gone = BodyError::Client { received: PARTS as u64 };
    let body = unknown(&content(PARTS, 1)).ending(End::Broken(gone));
    let slow = Fault::Slow(Duration::from_secs(6));
    broken.proxy.plan("DELETE", "uploadId", slow, 1);
    let outcome = put(&broken, &key(), body).await;
    ensure!(matches!(outcome, Err(PutError::Body(_))), "{outcome:?}");
    broken.assert_clean(&[]).await?;
    let aborts = broken.proxy.seen().iter().filter(|line| line.starts_with("DELETE")).count();
    ensure!((broken.proxy.left(), aborts) == (0, 1), "{aborts} requests aborted one upload");
    Ok(())
}

#[tokio::test]
async fn looking_reading_and_deleting_wait_out_what_passes_and_say_when_it_does_not() -> Result<()> {
    let broken = Broken::start().await?;
    let (key, content) = (key(), content(SMALL, 1));
    put(&broken, &key, known(&content)).await?;
    for method in ["HEAD", "GET"] {
        broken.proxy.plan(method, key.as_str(), Fault::Status(503), 1);
    }
    assert_there(&broken, &key, &content).await?;
    broken.proxy.plan("HEAD", key.as_str(), Fault::Status(503), 9);
    let head = broken.store.stat(std::slice::from_ref(&key)).await.remove(0);
    ensure!(matches!(head, Err(Error::Unavailable { verb: "stat", .. })), "{head:?}");
    broken.proxy.plan("GET", "list-type", Fault::Status(403), 9);
    let listed = broken.store.list(&headworks_shared::storage::Prefix::objects(), None, 5).await;
    ensure!(matches!(listed, Err(Error::Unavailable { .. })), "{listed:?}");
    ensure!(broken.store.health().await.is_err(), "a store that cannot be listed is not well");
    broken.proxy.clear();
    broken.proxy.plan("DELETE", key.as_str(), Fault::Status(503), 1);
    broken.proxy.plan("DELETE", key.as_str(), Fault::LostAnswer, 1);
    broken.store.delete(&key).await?;
    broken.assert_clean(&[]).await
}

#[tokio::test]
async fn an_object_is_missing_only_when_the_store_vouches_for_it() -> Result<()> {
    let broken = Broken::start().await?;
    let (there, gone, content) = (key(), key(), content(SMALL, 1));
    put(&broken, &there, known(&content)).await?;
    // One 404 is looked at once more.
    broken.proxy.plan("HEAD", there.as_str(), Fault::Status(404), 1);
    broken.proxy.plan("GET", there.as_str(), Fault::Status(404), 1);
    assert_there(&broken, &there, &content).await?;
    ensure!(broken.proxy.left() == 0, "the faults did not come to pass");
    let nowhere = broken.store.stat(std::slice::from_ref(&gone)).await.remove(0);
    ensure!(matches!(nowhere, Err(Error::NotFound)), "{nowhere:?}");
    // A gateway that says so of everything has lost the store, and not the objects.
    for method in ["HEAD", "GET"] {
        broken.proxy.plan(method, "", Fault::Status(404), 99);
    }
    for head in broken.store.stat(&[there.clone(), gone.clone()]).await {
        let Err(error @ Error::Unavailable { .. }) = head else {
            bail!("the gateway was believed: {head:?}")
        };
        let text = Report(&error).to_string();
        ensure!(text.contains("the store is not there"), "{text}");
    }
    let read = broken.store.read(&there, None).await;
    ensure!(matches!(read, Err(Error::Unavailable { .. })), "{read:?}");
    broken.proxy.clear();
    broken.assert_clean(&[&there]).await
}

#[tokio::test]
async fn for_many_objects_that_are_missing_the_store_vouches_once() -> Result<()> {
    let broken = Broken::start().await?;
    let (there, gone) = (key(), [0; 100].map(|_| key()));
    put(&broken, &there, known(&content(SMALL, 1))).await?;
    broken.proxy.clear();
    let keys = [&gone[..50], std::slice::from_ref(&there), &gone[50..]].concat();
    for (key, head) in keys.iter().zip(broken.store.stat(&keys).await) {
        ensure!(head.is_ok() == (*key == there), "{head:?}");
        ensure!(head.is_ok() || matches!(head, Err(Error::NotFound)), "{head:?}");
    }
    let asked = broken.proxy.seen().iter().filter(|line| line.contains(SENTINEL)).count();
    ensure!(asked == 1, "it was asked {asked} times");
    Ok(())
}
