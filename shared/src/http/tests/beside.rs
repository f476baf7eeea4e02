//! Bodies whose length was told: hyper does not see them, and nobody is to notice.

use super::*;

fn head(path: &str, length: usize, fields: &str) -> String {
    format!("PUT {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n{fields}\r\n")
}

/// Long enough to come in many pieces.
fn long() -> String {
    "0123456789abcdef".repeat(40_000)
}

#[tokio::test]
async fn a_body_is_the_same_however_it_is_cut_and_so_is_what_follows() {
    let server = Server::start();
    let text = format!("{}hello{}again{}", head("/echo", 5, ""), head("/echo", 5, ""), get("/a"));
    for cut in 0..=text.len() {
        let (first, second) = text.as_bytes().split_at(cut);
        let mut client = server.connect().await;
        client.stream.set_nodelay(true).unwrap();
        client.send(first).await;
        tokio::task::yield_now().await;
        client.send(second).await;
        for body in ["hello", "again", "/a"] {
            let answer = client.answer().await;
            answer.is(body);
            assert!(!answer.says_close(), "cut at {cut}");
        }
    }
}

#[tokio::test]
async fn a_long_body_comes_as_it_was_sent_and_another_request_behind_it() {
    let server = Server::start();
    let (mut client, long) = (server.connect().await, long());
    for _ in 0..3 {
        client.send(format!("{}{long}{}", head("/echo", long.len(), ""), get("/a"))).await;
        client.answer().await.is(&long);
        client.answer().await.is("/a");
    }
}

#[tokio::test]
async fn a_client_that_waits_is_told_to_go_on_when_its_body_is_wanted_and_not_before() {
    let server = Server::start();
    let mut client = server.connect().await;
    client.send(head("/echo", 5, "Expect: 100-continue\r\n")).await;
    let go_on = "HTTP/1.1 100 Continue\r\n\r\n";
    while client.seen.len() < go_on.len() {
        assert!(timeout(DEADLINE, client.read()).await.unwrap() > 0);
    }
    assert_eq!(client.seen(), go_on);
    client.seen.clear();
    client.send("hello").await;
    client.answer().await.is("hello");
    // Who does not wait for it does not hear it.
    client.send(format!("{}hello", head("/echo", 5, "Expect: 100-continue\r\n"))).await;
    client.answer().await.is("hello");
    client.send(head("/deaf", 5, "Expect: 100-continue\r\n")).await;
    let answer = client.answer().await;
    answer.is("/deaf");
    assert!(answer.says_close(), "whether the body comes, nobody knows");
    client.closed().await;
}

#[tokio::test]
async fn a_client_that_goes_away_within_its_body_breaks_it_off() {
    let server = Server::start();
    for sent in ["", "hel", &long()] {
        let mut client = server.connect().await;
        client.send(format!("{}{sent}", head("/echo", 1_000_000, ""))).await;
        client.stream.shutdown().await.unwrap();
        client.answer().await.is_problem(Code::BadBody);
        client.closed().await;
    }
}

#[tokio::test]
async fn a_client_that_goes_away_behind_its_body_ends_what_was_being_done_for_it() {
    for (path, length) in [("/hold", 5), ("/hold", 100_000), ("/unread", 5)] {
        let server = Server::start();
        let mut client = server.connect().await;
        client.send(format!("{}{}", head(path, length, ""), "x".repeat(length))).await;
        server.somebody_waits().await;
        drop(client);
        let dropped = timeout(DEADLINE, server.sample.handed_over.acquire()).await;
        assert!(dropped.expect("it is noticed").is_err(), "{path}");
    }
}

#[tokio::test]
async fn a_connection_that_breaks_down_breaks_its_body_off() {
    let server = Server::start();
    let mut client = server.connect().await;
    client.send(format!("{}hello", head("/panic", 100_000, ""))).await;
    let ended = timeout(DEADLINE, server.sample.handed_over.acquire()).await;
    assert!(ended.expect("nobody goes on reading").is_err());
}
