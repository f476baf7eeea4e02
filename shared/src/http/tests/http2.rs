//! HTTP/2: many requests on one connection, and what a client must not do with that.

use std::{convert::Infallible, pin::pin, task::Poll};

use http::StatusCode;
use http_body::Frame;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::*;

/// What a client sends.
enum Sent {
    All(Option<Bytes>),
    /// As much as it may; how much that was.
    Endless(Arc<Mutex<usize>>),
}

impl http_body::Body for Sent {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        const PIECE: &[u8] = &[b'x'; 16 << 10];
        let piece = match &mut *self {
            Self::All(content) => content.take(),
            Self::Endless(sent) => {
                *sent.lock().unwrap() += PIECE.len();
                Some(Bytes::from_static(PIECE))
            }
        };
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }
}

/// One connection.
#[derive(Clone)]
struct Connection(SendRequest<Sent>);

impl Connection {
    async fn to(server: &Server) -> Self {
        let stream = TokioIo::new(TcpStream::connect(server.address).await.unwrap());
        let (requests, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
        // It ends with the server's.
        server.tasks.spawn("client", |_| async { drop(connection.await) });
        Self(requests)
    }

    async fn send(&mut self, path: &str, body: Sent) -> hyper::Result<Response<hyper::body::Incoming>> {
        let uri = format!("http://a{path}");
        let request = Request::put(uri).body(body).unwrap();
        timeout(DEADLINE, self.0.ready()).await.expect("room for a stream in time")?;
        timeout(DEADLINE, self.0.send_request(request)).await.expect("an answer in time")
    }

    async fn get(&mut self, path: &str) -> (StatusCode, String) {
        let answer = self.send(path, Sent::All(None)).await.unwrap();
        let status = answer.status();
        (status, String::from_utf8(read(answer.into_body()).await.unwrap()).unwrap())
    }

    /// Waits until the server takes no new request.
    async fn takes_no_more(&mut self) {
        let begun = Instant::now();
        while self.send("/a", Sent::All(None)).await.is_ok() {
            assert!(begun.elapsed() < DEADLINE, "the connection goes on");
            sleep(SOON / 10).await;
        }
    }

    /// Waits until the server has ended the connection.
    async fn closed(&mut self) {
        let begun = Instant::now();
        while self.0.ready().await.is_ok() {
            assert!(begun.elapsed() < DEADLINE, "the connection goes on");
            sleep(SOON / 10).await;
        }
    }
}

fn ok(body: &str) -> (StatusCode, String) {
    (StatusCode::OK, body.to_owned())
}

/// A frame (RFC 9113 section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// `GET`, `http`, and these fields of HPACK's static table (RFC 7541 appendix A) with a value: 1 is `:authority`, 4 `:path`, 38 `host`.
fn head(stream: u32, fields: &[(u8, &str)]) -> Vec<u8> {
    let mut block = vec![0x82, 0x86];
    for (name, value) in fields {
        // The name's index in four bits, or in those and the rest in a byte of its own.
        block.extend(if *name < 15 { vec![*name] } else { vec![15, name - 15] });
        block.push(u8::try_from(value.len()).unwrap());
        block.extend(value.bytes());
    }
    frame(1, 0b101, stream, &block)
}

/// The beginning of a connection: the preface and empty settings.
fn opening() -> Vec<u8> {
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &frame(4, 0, 0, &[])].concat()
}

/// A request to `/wait`.
fn wait(stream: u32) -> Vec<u8> {
    head(stream, &[(1, "a"), (4, "/wait")])
}

/// It is abandoned.
fn reset(stream: u32) -> Vec<u8> {
    const CANCEL: [u8; 4] = [0, 0, 0, 8];
    frame(3, 0, stream, &CANCEL)
}

const GOAWAY: u8 = 7;

impl Client {
    /// The payload of the next frame of this kind on this stream.
    async fn frame(&mut self, kind: u8, stream: u32) -> Vec<u8> {
        let found = async {
            loop {
                while let Some(&[high, middle, low, was, _, a, b, c, d]) = self.seen.first_chunk() {
                    let length = u32::from_be_bytes([0, high, middle, low]) as usize;
                    let Some(payload) = self.seen.get(9..9 + length).map(<[u8]>::to_vec) else { break };
                    self.seen.drain(..9 + length);
                    if (was, u32::from_be_bytes([a, b, c, d])) == (kind, stream) {
                        return payload;
                    }
                }
                assert!(self.read().await > 0, "the connection ended");
            }
        };
        timeout(DEADLINE, found).await.expect("the frame in time")
    }
}

#[tokio::test]
async fn many_requests_on_one_connection_are_answered_each_for_itself() {
    let server = Server::with(|rules| (rules.connections, rules.connections_per_address) = (2000, 2000));
    let client = Connection::to(&server).await;
    let answers = (0..1000).map(|number| {
        let mut client = client.clone();
        async move {
            let sent = format!("{number}").repeat(100);
            let answer = client.send("/echo", Sent::All(Some(sent.clone().into()))).await.unwrap();
            assert_eq!(read(answer.into_body()).await.unwrap(), sent.as_bytes());
        }
    });
    futures_util::future::join_all(answers).await;
}

#[tokio::test]
async fn http1_goes_on_beside_it_also_when_its_first_bytes_come_one_by_one() {
    let server = Server::start();
    let mut client = server.connect().await;
    for byte in "PUT /a HTTP/1.1\r\nHost: a\r\n\r\n".bytes() {
        client.send([byte]).await;
        tokio::task::yield_now().await;
    }
    client.answer().await.is("/a");
    let mut client = server.connect().await;
    for piece in [&opening()[..2], &opening()[2..20], &opening()[20..], &head(1, &[(1, "a"), (4, "/b")])] {
        client.send(piece).await;
        sleep(SOON / 20).await;
    }
    assert_eq!(client.frame(0, 1).await, b"/b");
}

#[tokio::test]
async fn a_head_has_one_host_and_not_too_many_fields() {
    let server = Server::start();
    let many = vec![(38, "a"); 65];
    for (fields, status) in [
        (&[(1, "a"), (4, "/x")][..], 0x88),
        (&[(4, "/x"), (38, "a")], 0x88),
        (&[(1, "a"), (4, "/x"), (38, "a")], 0x88),
        (&[(1, "a"), (4, "/x"), (38, "b")], 0x8c),
        (&[(4, "/x"), (38, "a"), (38, "a")], 0x8c),
        (&[(4, "/x")], 0x8c),
    ] {
        let mut client = server.connect().await;
        client.send([opening(), head(1, fields)].concat()).await;
        // HPACK's static table has 200 and 400 as a byte each.
        assert_eq!(client.frame(1, 1).await.first(), Some(&status), "{fields:?}");
    }
    let mut client = server.connect().await;
    client.send([opening(), head(1, &[&[(1, "a"), (4, "/x")][..], &many].concat())].concat()).await;
    let answer = client.frame(0, 1).await;
    assert!(String::from_utf8_lossy(&answer).contains("header_too_large"), "{answer:?}");
}

#[tokio::test]
async fn a_stream_counts_as_a_connection_and_gives_its_place_back() {
    let server = Server::with(|rules| rules.connections_per_address = 3);
    let mut client = Connection::to(&server).await;
    let mut waiting = Vec::new();
    for _ in 0..2 {
        let mut client = client.clone();
        waiting.push(Box::pin(async move { client.get("/wait").await }));
    }
    for request in &mut waiting {
        assert!(futures_util::poll!(request.as_mut()).is_pending());
        server.somebody_waits().await;
    }
    let (status, problem) = client.get("/a").await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    assert!(problem.contains("too_many_connections"), "{problem}");
    // One is abandoned, the other one answered.
    drop(waiting.pop());
    let begun = Instant::now();
    while client.get("/a").await != ok("/a") {
        assert!(begun.elapsed() < DEADLINE, "its place is free");
    }
    server.let_go_on();
    assert_eq!(waiting.pop().unwrap().await, ok("waited"));
}

#[tokio::test]
async fn who_is_answered_before_the_body_was_read_reads_the_answer_and_the_connection_goes_on() {
    let server = Server::start();
    let mut client = Connection::to(&server).await;
    for _ in 0..20 {
        let sent = Arc::default();
        let answer = client.send("/a", Sent::Endless(Arc::clone(&sent))).await.unwrap();
        assert_eq!(read(answer.into_body()).await.unwrap(), b"/a");
    }
}

#[tokio::test]
async fn of_a_body_that_nobody_reads_no_more_than_a_window_is_sent() {
    let server = Server::start();
    let mut client = Connection::to(&server).await;
    let sent = Arc::new(Mutex::new(0));
    let mut waits = client.clone();
    let body = Sent::Endless(Arc::clone(&sent));
    let mut waits = pin!(waits.send("/wait", body));
    assert!(futures_util::poll!(waits.as_mut()).is_pending());
    server.somebody_waits().await;
    let mut before = 0;
    let begun = Instant::now();
    loop {
        sleep(SOON).await;
        let now = *sent.lock().unwrap();
        if now > 0 && now == before {
            break;
        }
        before = now;
        assert!(begun.elapsed() < DEADLINE, "it goes on");
    }
    // The window of a lone connection's stream, and the piece that waits behind it.
    assert!(before <= (1 << 20) + 2 * (16 << 10), "{before} bytes");
    // The others have room.
    let answer = client.send("/a", Sent::Endless(Arc::default())).await.unwrap();
    assert_eq!(read(answer.into_body()).await.unwrap(), b"/a");
    server.let_go_on();
    assert_eq!(waits.await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn a_stream_whose_answer_is_not_taken_is_reset_and_the_others_go_on() {
    let server = Server::with(|rules| rules.stall_timeout = SOON);
    let mut client = Connection::to(&server).await;
    let stalls = client.send("/large", Sent::All(None)).await.unwrap();
    timeout(DEADLINE, server.sample.handed_over.acquire()).await.expect("it is given up").unwrap_err();
    assert!(read(stalls.into_body()).await.is_none(), "it was reset");
    assert_eq!(client.get("/a").await, ok("/a"));
}

#[tokio::test]
async fn a_client_that_takes_nothing_at_all_is_cut_off() {
    let server = Server::with(|rules| rules.stall_timeout = SOON);
    let mut client = server.connect_small().await;
    let windows =
        [frame(4, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]), frame(8, 0, 0, &[0x7f, 0, 0, 0])].concat();
    client.send([opening(), windows, head(1, &[(1, "a"), (4, "/large")])].concat()).await;
    timeout(DEADLINE, server.sample.handed_over.acquire()).await.expect("it is given up").unwrap_err();
    let (answer, _) = client.ended().await;
    assert!(answer.len() < LARGE, "{} bytes came", answer.len());
}

#[tokio::test]
async fn who_begins_and_resets_without_end_is_cut_off_and_disturbs_nobody() {
    let server = Server::with(|rules| (rules.connections, rules.connections_per_address) = (2000, 2000));
    let mut other = Connection::to(&server).await;
    let mut client = server.connect().await;
    let resets = (1..40_000).step_by(2).flat_map(|stream| [wait(stream), reset(stream)].concat());
    client.send(opening().into_iter().chain(resets).collect::<Vec<_>>()).await;
    client.ended().await;
    assert!(server.seen().len() < 3000, "{}", server.seen().len());
    assert_eq!(other.get("/a").await, ok("/a"));
}

#[tokio::test]
async fn who_abandons_each_request_once_it_is_worked_on_is_cut_off_too() {
    let server = Server::start();
    let mut client = server.connect().await;
    client.send(opening()).await;
    for stream in (1..6000).step_by(2) {
        client.send(wait(stream)).await;
        tokio::select! {
            () = server.somebody_waits() => client.send(reset(stream)).await,
            _ = client.ended() => {
                assert!(server.seen().len() > 1000, "{}", server.seen().len());
                return;
            }
        }
    }
    panic!("it goes on for ever");
}

#[tokio::test]
async fn an_idle_connection_ends_and_so_does_one_that_never_begins() {
    let server = Server::with(|rules| rules.header_timeout = SOON);
    let mut client = Connection::to(&server).await;
    assert_eq!(client.get("/a").await, ok("/a"));
    client.closed().await;
    let mut begins = server.connect().await;
    begins.send(&opening()[..10]).await;
    begins.answer().await.is_problem(Code::TooSlow);
    let mut silent = server.connect().await;
    silent.closed().await;
}

#[tokio::test]
async fn a_connection_that_grew_old_ends_behind_its_answers() {
    let server = Server::with(|rules| rules.max_age = SOON);
    let mut client = Connection::to(&server).await;
    let mut waits = client.clone();
    let mut waits = Box::pin(async move { waits.get("/wait").await });
    assert!(futures_util::poll!(&mut waits).is_pending());
    server.somebody_waits().await;
    client.takes_no_more().await;
    server.let_go_on();
    assert_eq!(waits.await, ok("waited"));
}

#[tokio::test]
async fn stopping_lets_answers_come_to_their_end_and_says_so() {
    let server = Server::start();
    let (mut client, mut raw) = (Connection::to(&server).await, server.connect().await);
    raw.send(opening()).await;
    let mut waits = client.clone();
    let mut waits = Box::pin(async move { waits.get("/wait").await });
    assert!(futures_util::poll!(&mut waits).is_pending());
    server.somebody_waits().await;
    server.tasks.stop().cancel();
    raw.frame(GOAWAY, 0).await;
    client.takes_no_more().await;
    server.let_go_on();
    assert_eq!(waits.await, ok("waited"));
    drop((client, raw));
    assert!(server.tasks.drain(2 * DEADLINE).await);
}
