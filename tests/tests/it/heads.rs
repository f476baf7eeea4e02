//! Heads that no server should take: over raw TCP, because no client sends them.

use anyhow::{Context as _, Result, ensure};
use headworks_shared::http::Code;
use headworks_tests::{Config, DEADLINE, Headworks, Raw};

/// The fields of a request that would be taken, had it a good line and no other fields.
const GOOD: &str = "Host: a\r\nContent-Length: 1\r\n";

fn put(fields: &str) -> String {
    format!("PUT /v1/files/a HTTP/1.1\r\n{fields}\r\nx")
}

fn cases() -> Vec<(String, Code)> {
    let with = |fields: &str| put(&format!("{GOOD}{fields}\r\n"));
    let line = |line: &str| format!("{line}\r\n{GOOD}\r\nx");
    let framing = |fields: &str| put(&format!("Host: a\r\n{fields}\r\n"));
    vec![
        (put("Content-Length: 1\r\n"), Code::BadHost),
        (put(&format!("{GOOD}Host: a\r\n")), Code::BadHost),
        (put(&format!("{GOOD}Host: b\r\n")), Code::BadHost),
        (with("Content-Length: 1"), Code::BadFraming),
        (with("Content-Length: 2"), Code::BadFraming),
        (with("Transfer-Encoding: chunked"), Code::BadFraming),
        (framing("Transfer-Encoding: chunked\r\nContent-Length: 1"), Code::BadFraming),
        (framing("Transfer-Encoding: gzip, chunked"), Code::BadFraming),
        (framing("Transfer-Encoding: chunked, gzip"), Code::BadFraming),
        (framing("Transfer-Encoding: chunked, chunked"), Code::BadFraming),
        (framing("Transfer-Encoding: identity"), Code::BadFraming),
        (framing("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"), Code::BadFraming),
        (framing("Transfer-Encoding:"), Code::BadFraming),
        (framing("Content-Length: +1"), Code::BadFraming),
        (framing("Content-Length: -1"), Code::BadFraming),
        (framing("Content-Length: 0x1"), Code::BadFraming),
        (framing("Content-Length: 1, 1"), Code::BadFraming),
        (framing("Content-Length:"), Code::BadFraming),
        (framing("Content-Length: 99999999999999999999"), Code::BadFraming),
        (line("PUT /v1/files/a HTTP/1.0\r\nTransfer-Encoding: chunked"), Code::BadFraming),
        (with(&format!("X: {}", "y".repeat(33 << 10))), Code::HeaderTooLarge),
        (with(&"X: y\r\n".repeat(63)), Code::HeaderTooLarge),
        (format!("GET /{} HTTP/1.1\r\n{GOOD}\r\n", "a".repeat(33 << 10)), Code::HeaderTooLarge),
        (with("X: a\r\n folded"), Code::MalformedRequest),
        (with("X : a"), Code::MalformedRequest),
        (with(": a"), Code::MalformedRequest),
        (with("X: a\0b"), Code::MalformedRequest),
        (with("X: a\x07b"), Code::MalformedRequest),
        (with("no colon"), Code::MalformedRequest),
        (line("PUT /v1/files/a\0b HTTP/1.1"), Code::MalformedRequest),
        (line("PUT /v1/files/a b HTTP/1.1"), Code::MalformedRequest),
        (line("PUT /v1/files/a HTTP/2.0"), Code::MalformedRequest),
        (line("PUT /v1/files/a"), Code::MalformedRequest),
        (line("P\x01T /v1/files/a HTTP/1.1"), Code::MalformedRequest),
        (line("\x16\x03\x01\x02\0\x01\0\x01"), Code::MalformedRequest),
        (line("PRI * HTTP/2.0"), Code::MalformedRequest),
        (line("BREW /v1/files/a HTTP/1.1"), Code::MethodNotAllowed),
        (line("DELETE /v1/files/a HTTP/1.1"), Code::MethodNotAllowed),
        (line("PUT /v1/files HTTP/1.1"), Code::MethodNotAllowed),
        (line("PUT /v1/objects HTTP/1.1"), Code::MethodNotAllowed),
        (line("PUT /nowhere HTTP/1.1"), Code::NotFound),
        (line("OPTIONS /nowhere HTTP/1.1"), Code::NotFound),
        (with("Expect: 200-ok"), Code::BadExpectation),
        (with("X-Org-Id: a/b"), Code::BadScope),
        (with("X-Org-Id: .."), Code::BadScope),
        (with("X-Project-Id:"), Code::BadScope),
        (with("Priority: u=9"), Code::BadHeader),
        (with(&format!("Idempotency-Key: {}", "k".repeat(300))), Code::BadHeader),
        (with("Idempotency-Key:"), Code::BadHeader),
        (with("Content-Type: no type"), Code::BadHeader),
    ]
}

#[tokio::test]
async fn every_bad_head_is_told_what_is_wrong_and_leaves_nothing() -> Result<()> {
    Headworks::run(Config::new()?, async |headworks| {
        for (request, code) in cases() {
            let shown = || format!("{:?}", request.chars().take(160).collect::<String>());
            let answer = Raw::ask(headworks.listen(), &request).await.with_context(shown)?;
            answer.problem(code).with_context(shown)?;
            let allow = answer.header("allow");
            ensure!((code == Code::MethodNotAllowed) != allow.is_empty(), "Allow: {allow}; {}", shown());
            headworks.nothing_is_left().await.with_context(shown)?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_head_without_an_end_is_cut_off() -> Result<()> {
    Headworks::run(Config::new()?, async |headworks| {
        let mut raw = Raw::connect(headworks.listen()).await?;
        raw.send(format!("GET / HTTP/1.1\r\nX: {}", "y".repeat(33 << 10)).as_bytes()).await?;
        raw.answer().await?.problem(Code::HeaderTooLarge)?;
        raw.closed(DEADLINE).await?;
        headworks.nothing_is_left().await
    })
    .await
}

#[tokio::test]
async fn a_bad_head_behind_a_good_upload_is_refused_on_its_own() -> Result<()> {
    Headworks::run(Config::new()?, async |headworks| {
        for body in ["Content-Length: 2\r\n\r\nok", "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"]
        {
            let mut raw = Raw::connect(headworks.listen()).await?;
            raw.send(format!("PUT /v1/files/a HTTP/1.1\r\nHost: a\r\n{body}")).await?;
            raw.answer().await?.with_status(201).context(body)?;
            raw.send(b"GET / HTTP/1.1\r\n\r\n").await?;
            raw.answer().await?.problem(Code::BadHost).context(body)?;
            raw.closed(DEADLINE).await?;
        }
        Ok(())
    })
    .await
}
