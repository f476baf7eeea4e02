//! The load against servers that answer as they like.

use std::collections::BTreeMap;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::*;

const CREATED: &[u8] = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok";
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// `requests` bodies of `body_bytes` over two connections.
fn plan(requests: u64, body_bytes: u64, framing: Framing) -> Plan {
    Plan {
        target: SocketAddr::from(([127, 0, 0, 1], 0)),
        prefix: "/up".into(),
        projects: 0,
        connections: 2,
        body_bytes,
        framing,
        trickle: None,
        duration: Duration::from_secs(20),
        requests,
        deadline: Duration::from_secs(5),
        remembers: false,
    }
}

/// Sends all of `plan` to a server that gives each connection to `serve`.
async fn load<F>(plan: Plan, serve: fn(TcpStream) -> F) -> Loaded
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind(plan.target).await.unwrap();
    let plan = Plan { target: listener.local_addr().unwrap(), ..plan };
    let mut served = JoinSet::new();
    let accept = async {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            served.spawn(serve(stream));
        }
    };
    tokio::select! {
        loaded = run(plan) => loaded.unwrap(),
        () = accept => unreachable!("the server goes on"),
    }
}

/// Reads until `end` has come; false when the client is done first.
async fn read_to(stream: &mut TcpStream, end: &[u8]) -> bool {
    let mut seen = Vec::new();
    let mut block = vec![0; 64 * 1024];
    while !seen.windows(end.len()).any(|window| window == end) {
        match stream.read(&mut block).await {
            Ok(read) if read > 0 => seen.extend_from_slice(block.get(..read).unwrap()),
            _ => return false,
        }
    }
    true
}

/// Takes chunked bodies over one connection for as long as they come.
async fn take_chunked(mut stream: TcpStream) {
    while read_to(&mut stream, b"\r\n0\r\n\r\n").await {
        stream.write_all(CREATED).await.unwrap();
    }
}

/// Answers after the head, reads a little more and closes.
async fn refuse(mut stream: TcpStream) {
    if read_to(&mut stream, b"\r\n\r\n").await {
        stream.write_all(FULL).await.unwrap();
        stream.shutdown().await.unwrap();
        while stream.read(&mut [0; 4_096]).await.is_ok_and(|read| read > 0) {}
    }
}

/// Closes without an answer.
async fn break_off(mut stream: TcpStream) {
    read_to(&mut stream, b"\r\n\r\n").await;
}

#[tokio::test]
async fn each_request_is_sent_once_and_counted_once() {
    let loaded = load(plan(50, 20_000, Framing::Chunked), take_chunked).await;
    assert_eq!(loaded.tally.acknowledged(), 50);
    assert_eq!(loaded.tally.errors(), BTreeMap::new());
}

#[tokio::test]
async fn an_answer_that_comes_before_the_body_is_sent_counts_and_the_load_goes_on() {
    let loaded = load(plan(6, 64 * 1024 * 1024, Framing::Length), refuse).await;
    assert_eq!(loaded.tally.acknowledged(), 0);
    assert_eq!(loaded.tally.errors(), BTreeMap::from([("503".into(), 6)]));
}

#[tokio::test]
async fn a_broken_connection_is_counted_and_another_is_opened() {
    let loaded = load(plan(4, 1_000, Framing::Length), break_off).await;
    assert_eq!(loaded.tally.errors(), BTreeMap::from([("connection broken".into(), 4)]));
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up_at_the_deadline() {
    let deadline = Duration::from_millis(100);
    let plan = Plan { deadline, ..plan(2, 1_000, Framing::Length) };
    let loaded = load(plan, |mut stream| async move {
        while stream.read(&mut [0; 4_096]).await.is_ok_and(|read| read > 0) {}
    })
    .await;
    assert_eq!(loaded.tally.errors(), BTreeMap::from([("deadline passed".into(), 2)]));
    assert!(loaded.took >= deadline);
}
