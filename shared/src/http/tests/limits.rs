//! How many connections there are, how long one may last, and what is left of it at its end.

use super::*;

#[tokio::test]
async fn who_is_over_the_limit_waits_until_another_leaves() {
    let server = Server::with(|rules| rules.connections = 2);
    let (mut first, mut second) = (server.connect().await, server.connect().await);
    first.get("/a").await.is("/a");
    second.get("/b").await.is("/b");
    let mut third = server.connect().await;
    third.send(get("/c")).await;
    assert!(third.try_answer(A_WHILE).await.is_none());
    second.get("/b").await.is("/b");
    drop(first);
    third.answer().await.is("/c");
}

#[tokio::test]
async fn who_has_as_many_connections_as_an_address_may_is_told_so_and_not_listened_to() {
    let server = Server::with(|rules| rules.connections_per_address = 2);
    let (mut first, mut second) = (server.connect().await, server.connect().await);
    first.get("/a").await.is("/a");
    second.get("/b").await.is("/b");
    let mut third = server.connect().await;
    third.send(get("/c")).await;
    let answer = third.answer().await;
    answer.is_problem(Code::TooManyConnections);
    assert!(answer.head.contains("retry-after: 1"), "{answer:?}");
    third.closed().await;
    assert_eq!(server.seen(), ["/a", "/b"]);
    drop(first);
    let begun = Instant::now();
    loop {
        let mut again = server.connect().await;
        again.send(get("/c")).await;
        if again.answer().await.head.contains(" 200 OK") {
            break;
        }
        assert!(begun.elapsed() < DEADLINE, "the first one's place is free");
    }
}

#[tokio::test]
async fn a_client_that_goes_away_gives_its_place_back() {
    let server = Server::with(|rules| rules.connections = 1);
    let mut gone = server.connect().await;
    gone.send(get("/wait")).await;
    server.somebody_waits().await;
    drop(gone);
    let mut gone = server.connect().await;
    gone.send("PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe").await;
    drop(gone);
    server.connect().await.get("/a").await.is("/a");
}

#[tokio::test]
async fn a_client_that_takes_nothing_of_its_answer_is_cut_off() {
    let server = Server::with(|rules| (rules.connections, rules.stall_timeout) = (1, SOON));
    let mut stalls = server.connect().await;
    stalls.send(get("/large")).await;
    server.connect().await.get("/a").await.is("/a");
    // At once, too: what the kernel keeps for it is given back.
    let (answer, reset) = stalls.ended().await;
    assert!(reset && answer.len() < LARGE, "{} bytes came", answer.len());
}

#[tokio::test]
async fn a_client_that_is_slow_gets_all_of_an_answer_though_its_own_body_never_comes() {
    // Whether something is left at the end of the kernel's buffer depends on the length.
    for length in (1..=8).map(|n| (4 << 20) + n * (16 << 10)) {
        let server = Server::start();
        let mut client = server.connect_small().await;
        let fields = "Host: a\r\nContent-Length: 5\r\nConnection: close";
        client.send(format!("PUT /large?{length} HTTP/1.1\r\n{fields}\r\n\r\n")).await;
        // It lags behind until the server has nothing more to hand over; then the rest is on its way.
        while !server.sample.handed_over.is_closed() {
            assert!(timeout(DEADLINE, client.read()).await.expect("more of the answer") > 0);
        }
        assert!(client.seen.len() < length);
        let (answer, reset) = client.ended().await;
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        assert_eq!((body.len(), reset), (length, false));
    }
}

#[tokio::test]
async fn a_connection_that_grew_old_ends_behind_an_answer() {
    let server = Server::with(|rules| rules.max_age = SOON);
    let mut client = server.connect().await;
    let begun = Instant::now();
    while !client.get("/a").await.says_close() {
        assert!(begun.elapsed() < DEADLINE, "it never ends");
        sleep(SOON / 10).await;
    }
    assert!(begun.elapsed() > SOON / 2, "it ended while it was young");
    client.closed().await;
    let server = Server::start();
    assert!(!server.connect().await.get("/a").await.says_close());
}

#[tokio::test]
async fn stopping_closes_idle_connections_at_once() {
    let server = Server::start();
    let (mut silent, mut idle) = (server.connect().await, server.connect().await);
    // Then the one before it has been accepted too.
    idle.get("/a").await.is("/a");
    server.tasks.stop().cancel();
    silent.closed().await;
    idle.closed().await;
    drop((silent, idle));
    assert!(server.tasks.drain(DEADLINE).await);
}

#[tokio::test]
async fn stopping_lets_an_answer_come_to_its_end() {
    let server = Server::start();
    let (mut waits, mut reads) = (server.connect().await, server.connect().await);
    waits.send(get("/wait") + &get("/behind")).await;
    server.somebody_waits().await;
    reads.send(get("/large")).await;
    assert!(reads.read().await > 0);
    server.tasks.stop().cancel();
    server.let_go_on();
    let answer = waits.answer().await;
    answer.is("waited");
    assert!(answer.says_close());
    waits.closed().await;
    assert_eq!(reads.answer().await.body.len(), LARGE);
    reads.closed().await;
    drop((waits, reads));
    assert!(server.tasks.drain(DEADLINE).await);
}
