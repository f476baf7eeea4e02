//! The load against servers that answer as they like.

use std::collections::BTreeMap;

use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, Response, StatusCode, body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::*;

const CREATED: &[u8] = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok";
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// `requests` bodies of `body_bytes` over two connections.
fn plan(requests: u64, body_bytes: u64, framing: Framing) -> Plan {
    let nobody = SocketAddr::from(([127, 0, 0, 1], 0));
    let (duration, deadline) = (Duration::from_secs(20), Duration::from_secs(5));
    Plan { framing, duration, requests, deadline, ..Plan::put(nobody, 2, body_bytes) }
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

/// Takes tus uploads in parts of 400 bytes: each answer says where it goes on.
async fn take_parts(mut stream: TcpStream) {
    let created = b"HTTP/1.1 201 Created\r\nLocation: http://localhost/files/7\r\nContent-Length: 0\r\n\r\n";
    let mut heads = Heads::default();
    while let Some(head) = heads.next(&mut stream).await {
        let offset = head.lines().find_map(|line| line.strip_prefix("upload-offset: "));
        let answer: &[u8] = match (head.lines().next().unwrap(), offset) {
            ("POST /files HTTP/1.1", None) if head.contains("upload-length: 1000") => created,
            ("PATCH /files/7 HTTP/1.1", Some("400" | "800")) => b"HTTP/1.1 204 No Content\r\n\r\n",
            _ => b"HTTP/1.1 409 Conflict\r\nContent-Length: 0\r\n\r\n",
        };
        stream.write_all(answer).await.unwrap();
    }
}

/// Heads of requests whose bodies are read past.
#[derive(Default)]
struct Heads {
    seen: Vec<u8>,
}

impl Heads {
    async fn next(&mut self, stream: &mut TcpStream) -> Option<String> {
        loop {
            if let Some(end) = self.seen.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(self.seen.get(..end)?).into_owned();
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?;
                let whole = end + 4 + length.parse::<usize>().ok()?;
                if self.seen.len() >= whole {
                    self.seen.drain(..whole);
                    return Some(head);
                }
            }
            if stream.read_buf(&mut self.seen).await.ok()? == 0 {
                return None;
            }
        }
    }
}

#[tokio::test]
async fn a_large_body_goes_to_tus_in_parts_that_follow_each_other() {
    let api = Api::Tus { part: 400 };
    let plan = Plan { api, prefix: "/files".into(), ..plan(5, 1_000, Framing::Length) };
    let loaded = load(plan, take_parts).await;
    assert_eq!((loaded.tally.acknowledged(), loaded.tally.errors()), (5, BTreeMap::new()));
}

/// Refuses after the head; whoever sends a byte of the body all the same gets no answer.
async fn refuse_unread(mut stream: TcpStream) {
    let (mut seen, mut more) = (Vec::new(), [0; 1]);
    while !seen.ends_with(b"\r\n\r\n") && stream.read_exact(&mut more).await.is_ok() {
        seen.extend_from_slice(&more);
    }
    let sent_at_once = tokio::time::timeout(Duration::from_millis(50), stream.read(&mut more)).await.is_ok();
    if !sent_at_once {
        stream.write_all(b"HTTP/1.1 503 No\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    }
}

#[tokio::test]
async fn a_body_that_waits_to_be_asked_for_is_not_sent_when_it_is_refused() {
    let loaded = load(Plan { expects: true, ..plan(4, 1_000, Framing::Length) }, refuse_unread).await;
    assert_eq!(loaded.tally.errors(), BTreeMap::from([("503".into(), 4)]));
    assert_eq!(loaded.tally.honest_refusals(), 4);
}

/// Asks for each body, and takes it.
async fn ask(mut stream: TcpStream) {
    while read_to(&mut stream, b"\r\n\r\n").await {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
        if stream.read_exact(&mut [0; 1_000]).await.is_ok() {
            stream.write_all(CREATED).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_body_that_waits_is_sent_when_it_is_asked_for() {
    let loaded = load(Plan { expects: true, ..plan(6, 1_000, Framing::Length) }, ask).await;
    assert_eq!((loaded.tally.acknowledged(), loaded.tally.errors()), (6, BTreeMap::new()));
}

#[tokio::test]
async fn who_is_refused_keeps_away_for_as_long_as_it_is_told_to() {
    let plan = Plan { obeys: true, expects: true, connections: 1, ..plan(2, 1_000, Framing::Length) };
    let loaded = load(plan, refuse_unread).await;
    assert_eq!(loaded.tally.honest_refusals(), 2);
    assert!(loaded.took >= Duration::from_secs(2), "{:?}", loaded.took);
}

/// Takes 20 ms for each body.
async fn take_slowly(mut stream: TcpStream) {
    while read_to(&mut stream, b"\r\n0\r\n\r\n").await {
        tokio::time::sleep(Duration::from_millis(20)).await;
        stream.write_all(CREATED).await.unwrap();
    }
}

#[tokio::test]
async fn in_an_open_loop_latency_counts_from_the_moment_that_a_request_was_due() {
    let pace = Pace::Open { per_second: 1_000.0 };
    let plan = Plan { pace, opens_first: true, connections: 1, ..plan(10, 1_000, Framing::Chunked) };
    let loaded = load(plan, take_slowly).await;
    assert_eq!(loaded.tally.acknowledged(), 10);
    // The last one is due after 9 ms, and its turn comes after nine others of 20 ms.
    assert!(loaded.tally.latency_ms(1.0) > 180.0, "{}", loaded.tally.latency_ms(1.0));
    assert!(loaded.tally.latency_ms(0.1) < 100.0, "{}", loaded.tally.latency_ms(0.1));
}

/// How many connections `take_streams` was given.
static LINES: AtomicU64 = AtomicU64::new(0);

/// Takes bodies of 20,000 bytes over HTTP/2.
async fn take_streams(stream: TcpStream) {
    LINES.fetch_add(1, Ordering::Relaxed);
    let take = service_fn(async |request: Request<Incoming>| {
        let (mut body, mut bytes) = (request.into_body(), 0);
        while let Some(frame) = body.frame().await {
            bytes += frame?.data_ref().map_or(0, bytes::Bytes::len);
        }
        let status = if bytes == 20_000 { StatusCode::CREATED } else { StatusCode::BAD_REQUEST };
        let mut answer = Response::new(Empty::<bytes::Bytes>::new());
        *answer.status_mut() = status;
        Ok::<_, hyper::Error>(answer)
    });
    http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), take).await.unwrap();
}

#[tokio::test]
async fn many_streams_share_few_connections_of_http_2() {
    let protocol = Protocol::Http2 { streams: 20 };
    let plan = Plan { protocol, connections: 40, ..plan(400, 20_000, Framing::Length) };
    let loaded = load(plan, take_streams).await;
    assert_eq!((loaded.tally.acknowledged(), loaded.tally.errors()), (400, BTreeMap::new()));
    assert_eq!(LINES.load(Ordering::Relaxed), 2);
}
