//! Heads: those that are refused, and those that do not come.

use super::*;

/// Heads with a rule broken in each.
fn bad() -> Vec<(String, Code)> {
    let line = |line: &str| format!("{line}\r\nHost: a\r\n\r\n");
    let fields = |fields: &str| format!("PUT /deaf HTTP/1.1\r\n{fields}\r\n\r\n");
    let with = |more: &str| fields(&format!("Host: a\r\n{more}"));
    vec![
        (fields("X: y"), Code::BadHost),
        (with("Host: a"), Code::BadHost),
        (with("Content-Length: 1\r\nTransfer-Encoding: chunked"), Code::BadFraming),
        (with("Transfer-Encoding: gzip, chunked"), Code::BadFraming),
        (with("Content-Length: 1\r\nContent-Length: 2"), Code::BadFraming),
        (with("Content-Length: 18446744073709551615"), Code::BadFraming),
        (with(&"X: y\r\n".repeat(64)), Code::HeaderTooLarge),
        (with(&format!("X: {}", "y".repeat(33 << 10))), Code::HeaderTooLarge),
        (with("X: a\r\n folded"), Code::MalformedRequest),
        (with("X : a"), Code::MalformedRequest),
        (with("X: a\nY: b"), Code::MalformedRequest),
        (with("X: a\rY: b"), Code::MalformedRequest),
        (with("X: a\n"), Code::MalformedRequest),
        ("GET / HTTP/1.1\nHost: a\n\n".to_owned(), Code::MalformedRequest),
        (format!("\n{}", get("/")), Code::MalformedRequest),
        (line("GET a/b HTTP/1.1"), Code::MalformedRequest),
        (line("GET http:// HTTP/1.1"), Code::MalformedRequest),
    ]
}

#[tokio::test]
async fn a_bad_head_gets_its_whole_answer_though_the_client_pushes_on() {
    let server = Server::start();
    for (head, code) in bad() {
        let mut client = server.connect_small().await;
        client.send(&head).await;
        // What nobody reads would reset the connection, and could take the answer along.
        client.send(vec![b'x'; 1 << 20]).await;
        client.answer().await.is_problem(code);
        drop(client.stream.shutdown().await);
        client.closed().await;
    }
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn a_bad_head_behind_good_requests_takes_nothing_from_their_answers() {
    let server = Server::start();
    let put = "PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
    let chunks = chunked("/echo", &["hel", "lo", ""]);
    for (bad, code) in bad() {
        let mut client = server.connect().await;
        client.send(format!("{put}{chunks}{bad}")).await;
        client.answer().await.is("hello");
        client.answer().await.is("hello");
        client.answer().await.is_problem(code);
        client.closed().await;
    }
}

#[tokio::test]
async fn a_bad_head_waits_for_the_answer_that_is_being_made() {
    let server = Server::start();
    for path in ["/wait", "/large"] {
        let mut client = server.connect().await;
        client.send(get(path)).await;
        if path == "/wait" {
            server.somebody_waits().await;
        }
        client.send("GET / HTTP/1.1\r\n\r\n").await;
        assert!(path == "/large" || client.try_answer(A_WHILE).await.is_none());
        server.let_go_on();
        let answer = client.answer().await;
        assert!(answer.head.starts_with("HTTP/1.1 200"), "{}", answer.head);
        client.answer().await.is_problem(Code::BadHost);
        client.closed().await;
    }
}

#[tokio::test]
async fn after_an_answer_that_closes_there_is_no_other() {
    let server = Server::start();
    for good in ["GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"] {
        let mut client = server.connect().await;
        client.send(format!("{good}GET / HTTP/1.1\r\n\r\n")).await;
        client.answer().await.is("/");
        client.closed().await;
    }
}

#[tokio::test]
async fn a_head_is_the_same_however_it_is_cut() {
    let server = Server::start();
    let text = format!("{}\r\n{}{}", chunked("/echo", &["hello", ""]), get("/a"), "GET / HTTP/1.1\r\n\r\n");
    for cut in 1..text.len() {
        let mut client = server.connect().await;
        client.stream.set_nodelay(true).unwrap();
        let (first, second) = text.split_at(cut);
        client.send(first).await;
        tokio::task::yield_now().await;
        client.send(second).await;
        client.answer().await.is("hello");
        client.answer().await.is("/a");
        client.answer().await.is_problem(Code::BadHost);
    }
}

#[tokio::test]
async fn a_head_that_does_not_come_to_its_end_is_too_slow() {
    let server = Server::with(|rules| rules.header_timeout = SOON);
    let mut client = server.connect().await;
    client.send("GET / HTTP/1.1\r\nX: ").await;
    // A byte now and then does not help.
    let (mut reader, mut writer) = client.stream.split();
    let mut ticks = tokio::time::interval(SOON / 10);
    loop {
        tokio::select! {
            read = timeout(DEADLINE, reader.read_buf(&mut client.seen)) => {
                assert!(read.expect("an answer in time").unwrap() > 0);
                break;
            }
            _ = ticks.tick() => drop(writer.write_all(b"y").await),
        }
    }
    client.answer().await.is_problem(Code::TooSlow);
    client.closed().await;
}

#[tokio::test]
async fn who_says_nothing_is_closed_without_a_word() {
    let server = Server::with(|rules| rules.header_timeout = SOON);
    let mut silent = server.connect().await;
    let mut idle = server.connect().await;
    idle.get("/").await.is("/");
    let mut polite = server.connect().await;
    polite.send(get("/") + "\r\n").await;
    polite.answer().await.is("/");
    for client in [&mut silent, &mut idle, &mut polite] {
        client.closed().await;
    }
}
