//! One request behind another: where a body ends, and what becomes of one that nobody reads.

use super::*;

/// A body that reads like a request.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

#[tokio::test]
async fn a_connection_serves_one_request_after_another() {
    let server = Server::start();
    let mut client = server.connect().await;
    for path in ["/a", "/b", "/c"] {
        let answer = client.get(path).await;
        answer.is(path);
        assert!(!answer.says_close());
    }
    client.send(chunked("/echo", &["one ", "two", ""])).await;
    client.answer().await.is("one two");
    client.get("/d").await.is("/d");
}

#[tokio::test]
async fn requests_that_come_together_are_answered_in_their_order() {
    let server = Server::start();
    let length = format!("PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", SMUGGLED.len());
    let chunks = chunked("/echo", &[SMUGGLED, ""]);
    let decorated = "PUT /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
                     05 ;a=\"b\"\r\nhello\r\n0\r\nX: GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut client = server.connect().await;
    client.send(format!("{}{length}{SMUGGLED}{chunks}{decorated}{}", get("/a"), get("/b"))).await;
    for body in ["/a", SMUGGLED, SMUGGLED, "hello", "/b"] {
        client.answer().await.is(body);
    }
    assert_eq!(server.seen(), ["/a", "/echo", "/echo", "/echo", "/b"]);
}

#[tokio::test]
async fn a_body_that_nobody_reads_is_never_taken_for_a_request() {
    let server = Server::start();
    let much = SMUGGLED.repeat(10_000);
    let length = format!("PUT /deaf HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{much}", much.len());
    let deaf = chunked("/deaf", &[&much, SMUGGLED, ""]);
    let first = chunked("/first", &["/first", &much, ""]);
    for (path, request) in [("/deaf", length), ("/deaf", deaf), ("/first", first)] {
        let mut client = server.connect().await;
        client.send(request).await;
        client.send(get("/behind")).await;
        client.answer().await.is(path);
        client.closed().await;
    }
    assert_eq!(server.seen(), ["/deaf", "/deaf", "/first"]);
}

#[tokio::test]
async fn a_small_body_that_nobody_reads_costs_no_connection() {
    let server = Server::start();
    let mut client = server.connect().await;
    client.send("PUT /deaf HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello").await;
    client.answer().await.is("/deaf");
    client.get("/a").await.is("/a");
}

#[tokio::test]
async fn a_broken_chunk_ends_its_body_and_the_connection_but_not_the_answer() {
    let server = Server::start();
    for chunks in [
        "x\r\nhello\r\n0\r\n\r\n",
        "\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello!\r\n0\r\n\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "0\r\nX: y\nY: z\r\n\r\n",
        "0\r\n\rX: y\r\n\r\n",
    ] {
        let mut client = server.connect().await;
        let good = chunked("/echo", &["hello"]);
        client.send(format!("{good}{chunks}{SMUGGLED}")).await;
        client.answer().await.is_problem(Code::BadBody);
        client.closed().await;
    }
    assert!(server.seen().iter().all(|path| path == "/echo"));
}
