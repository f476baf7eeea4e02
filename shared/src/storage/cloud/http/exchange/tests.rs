//! Against a store that says, byte for byte, what it is told to say.

use std::{future::Future, sync::atomic::AtomicUsize};

use http::{Request, StatusCode};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::{Instant, timeout},
};

use super::{
    super::{
        super::pipe::BreakOff,
        client::{Client, FEW, Sizes},
    },
    *,
};
use crate::limits::Budget;

const STALL: Duration = Duration::from_millis(300);
const BODY: &[u8] = b"0123456789";
const GO_ON: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
const REFUSED: &[u8] =
    b"HTTP/1.1 507 x\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n<Error>\r\n8\r\n</Error>\r\n0\r\n\r\n";
const STORED: &[u8] = b"HTTP/1.1 200 OK\r\nETag: \"e\"\r\nContent-Length: 0\r\n\r\n";

/// A store, and who speaks to it.
struct Both {
    listener: TcpListener,
    client: Client,
    head: Parts,
    body: &'static [u8],
    budget: Budget,
}

/// What follows the bytes that are put.
#[derive(Clone, Copy)]
enum Then {
    End,
    BreakOff,
    Wait,
}

impl Both {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}/bucket/key?part=1", listener.local_addr().unwrap());
        let sizes = Sizes { idle: 2, connect: Duration::from_secs(5), stall: STALL };
        let client = Client::new(sizes, false, None).unwrap();
        let head = Request::put(uri).header("content-length", BODY.len()).body(()).unwrap().into_parts().0;
        Self { listener, client, head, body: BODY, budget: Budget::new(64 << 20) }
    }

    /// Puts the body in two frames, while the store does what it does.
    async fn put<T>(&self, store: impl Future<Output = T>) -> (Result<Response<Bytes>, ClientError>, T) {
        self.put_some((self.body.len(), Then::End), store).await
    }

    /// Puts the first bytes of the body.
    async fn put_some<T>(
        &self,
        (some, then): (usize, Then),
        store: impl Future<Output = T>,
    ) -> (Result<Response<Bytes>, ClientError>, T) {
        let pipe = Pipe::new(self.body.len() as u64, &Arc::new(AtomicUsize::new(FEW + 1)));
        let feed = async {
            let _breaks_off = BreakOff(&pipe);
            pipe.wanted().await;
            for frame in self.body.get(..some).unwrap().chunks(self.body.len() / 2) {
                pipe.room().await;
                pipe.push(Bytes::from_static(frame), self.budget.lease(frame.len()).await);
            }
            match then {
                Then::End => pipe.finish(),
                Then::BreakOff => {}
                Then::Wait => std::future::pending().await,
            }
            pipe.empty().await;
        };
        let send = async {
            let mut feed = std::pin::pin!(feed);
            let mut send = std::pin::pin!(self.client.send(&self.head, &pipe, FEW + 1));
            tokio::select! { answer = &mut send => answer, () = &mut feed => send.await }
        };
        timeout(Duration::from_secs(10), async { tokio::join!(send, store) }).await.expect("in time")
    }

    /// The store's end of a connection that is kept.
    async fn kept(&self) -> TcpStream {
        let (answer, stream) = self
            .put(async {
                let mut stream = self.accept().await;
                take(&mut stream).await;
                stream
            })
            .await;
        assert_eq!(status(&answer), Some(StatusCode::OK));
        stream
    }

    async fn accept(&self) -> TcpStream {
        let stream = self.listener.accept().await.unwrap().0;
        stream.set_nodelay(true).unwrap();
        stream
    }
}

/// Reads the request's head.
async fn asked(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        text.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(text).unwrap()
}

/// Takes a whole put.
async fn take(stream: &mut TcpStream) {
    take_and_say(stream, &[GO_ON], STORED).await;
}

/// Takes a whole put; what is said before it is said with a pause, and only the last of it opens the gate.
async fn take_and_say(stream: &mut TcpStream, before: &[&[u8]], last: &[u8]) {
    asked(stream).await;
    for (at, words) in before.iter().enumerate() {
        if at > 0 {
            let silent = timeout(Duration::from_millis(50), stream.read_u8()).await;
            assert!(silent.is_err(), "a byte of the body before the store wants it");
        }
        stream.write_all(words).await.unwrap();
    }
    let mut body = [0; BODY.len()];
    stream.read_exact(&mut body).await.unwrap();
    assert_eq!(body, BODY);
    stream.write_all(last).await.unwrap();
}

/// Waits until the other side is gone.
async fn ended(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    let end = timeout(Duration::from_secs(5), stream.read_to_end(&mut rest)).await.expect("it ends");
    assert!(rest.len() < BODY.len() / 2 && end.is_ok(), "{end:?} behind {rest:?}");
}

fn status(answer: &Result<Response<Bytes>, ClientError>) -> Option<StatusCode> {
    answer.as_ref().ok().map(Response::status)
}

#[tokio::test]
async fn a_store_is_asked_and_then_sent_the_body_and_the_connection_goes_on() {
    let both = Both::new().await;
    let (answer, mut stream) = both
        .put(async {
            let mut stream = both.accept().await;
            let head = asked(&mut stream).await;
            let host = both.listener.local_addr().unwrap();
            assert!(head.starts_with("PUT /bucket/key?part=1 HTTP/1.1\r\n"), "{head}");
            assert!(
                head.contains(&format!("host: {host}\r\n")) && head.contains("content-length: 10\r\n"),
                "{head}"
            );
            let silent = timeout(Duration::from_millis(50), stream.read_u8()).await;
            assert!(silent.is_err(), "a byte of the body before the store wants it");
            stream.write_all(GO_ON).await.unwrap();
            let mut body = [0; BODY.len()];
            stream.read_exact(&mut body).await.unwrap();
            stream.write_all(STORED).await.unwrap();
            stream
        })
        .await;
    let answer = answer.unwrap();
    assert_eq!((answer.status(), answer.headers()["etag"].as_bytes()), (StatusCode::OK, &b"\"e\""[..]));
    let (answer, ()) = both.put(take(&mut stream)).await;
    assert_eq!(status(&answer), Some(StatusCode::OK), "over the same connection");
    assert_eq!(both.budget.used_bytes(), 0);
}

#[tokio::test]
async fn a_store_that_says_nothing_is_sent_the_body_after_a_second() {
    let both = Both::new().await;
    let (answer, waited) = both
        .put(async {
            let mut stream = both.accept().await;
            asked(&mut stream).await;
            let begun = Instant::now();
            let mut body = [0; BODY.len()];
            stream.read_exact(&mut body).await.unwrap();
            stream.write_all(STORED).await.unwrap();
            begun.elapsed()
        })
        .await;
    assert_eq!(status(&answer), Some(StatusCode::OK));
    assert!(waited > Duration::from_millis(900), "{waited:?}");
}

#[tokio::test]
async fn a_refusal_is_read_before_the_body_and_in_the_middle_of_it() {
    for first in [&b""[..], GO_ON] {
        let both = Both::new().await;
        let (answer, ()) = both
            .put_some((BODY.len() / 2, Then::Wait), async {
                let mut stream = both.accept().await;
                asked(&mut stream).await;
                stream.write_all(first).await.unwrap();
                if !first.is_empty() {
                    stream.read_u8().await.unwrap();
                }
                stream.write_all(REFUSED).await.unwrap();
                ended(&mut stream).await;
            })
            .await;
        let answer = answer.unwrap();
        assert_eq!((answer.status().as_u16(), &**answer.body()), (507, &b"<Error></Error>"[..]));
    }
}

#[tokio::test]
async fn a_refusal_is_read_though_the_store_resets_the_connection_behind_it() {
    let mut both = Both::new().await;
    both.body = Box::leak(vec![b'x'; 16 << 20].into_boxed_slice());
    let (answer, ()) = both
        .put(async {
            let mut stream = both.accept().await;
            asked(&mut stream).await;
            stream.write_all(GO_ON).await.unwrap();
            stream.read_u8().await.unwrap();
            stream.write_all(REFUSED).await.unwrap();
            // What was not read makes it a reset, by which the answer may be lost on its way; not if it is there already.
            tokio::time::sleep(STALL / 2).await;
        })
        .await;
    assert_eq!(status(&answer).map(|status| status.as_u16()), Some(507), "{answer:?}");
}

#[tokio::test]
async fn yes_before_the_end_of_the_body_is_no_success() {
    let both = Both::new().await;
    let (answer, _) = both
        .put_some((BODY.len() / 2, Then::BreakOff), async {
            let mut stream = both.accept().await;
            asked(&mut stream).await;
            stream.write_all(STORED).await.unwrap();
            stream
        })
        .await;
    // Whoever puts sees that the body has not passed.
    assert_eq!(status(&answer), Some(StatusCode::OK));
    let (answer, ()) = both.put(async { take(&mut both.accept().await).await }).await;
    assert_eq!(status(&answer), Some(StatusCode::OK), "over another connection");
}

#[tokio::test]
async fn after_an_answer_that_says_close_or_has_more_behind_it_there_is_a_new_connection() {
    let stray = [STORED, b"HTTP/1.1 200 OK\r\n\r\n"].concat();
    for last in [&b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"[..], &stray] {
        let both = Both::new().await;
        let (answer, mut old) = both
            .put(async {
                let mut stream = both.accept().await;
                take_and_say(&mut stream, &[b"HTTP/1.1 103 Early Hints\r\n\r\n", GO_ON], last).await;
                stream
            })
            .await;
        assert_eq!(status(&answer), Some(StatusCode::OK));
        ended(&mut old).await;
        let (answer, ()) = both.put(async { take(&mut both.accept().await).await }).await;
        assert_eq!(status(&answer), Some(StatusCode::OK));
    }
}

#[tokio::test]
async fn what_comes_unasked_while_a_connection_is_kept_is_no_answer() {
    let both = Both::new().await;
    let mut stream = both.kept().await;
    stream.write_all(b"HTTP/1.1 500 x\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    // Both ends are in this machine: what was written is there once the runtime has looked.
    tokio::time::sleep(Duration::from_millis(20)).await;
    let (answer, ()) = both.put(async { take(&mut both.accept().await).await }).await;
    assert_eq!(status(&answer), Some(StatusCode::OK));
}

#[tokio::test]
async fn a_body_of_which_some_was_taken_is_not_sent_again() {
    let both = Both::new().await;
    let stream = both.kept().await;
    let (answer, ()) = both
        .put(async {
            let mut stream = stream;
            asked(&mut stream).await;
            stream.write_all(GO_ON).await.unwrap();
            stream.read_u8().await.unwrap();
        })
        .await;
    assert!(matches!(answer, Err(ClientError::Exchange(_))), "{answer:?}");
}

#[tokio::test]
async fn a_connection_that_was_closed_while_it_was_kept_is_replaced() {
    let both = Both::new().await;
    let stream = both.kept().await;
    // First as the next request comes, then before it.
    let (answer, stream) = both
        .put(async {
            let mut old = stream;
            asked(&mut old).await;
            drop(old);
            let mut stream = both.accept().await;
            take(&mut stream).await;
            stream
        })
        .await;
    assert_eq!(status(&answer), Some(StatusCode::OK));
    drop(stream);
    tokio::time::sleep(Duration::from_millis(20)).await;
    let (answer, ()) = both.put(async { take(&mut both.accept().await).await }).await;
    assert_eq!(status(&answer), Some(StatusCode::OK));
}

#[tokio::test]
async fn words_that_do_not_come_to_an_end_are_not_waited_for() {
    let both = Both::new().await;
    let (answer, waited) = both
        .put(async {
            let mut stream = both.accept().await;
            asked(&mut stream).await;
            let begun = Instant::now();
            stream.write_all(b"HTTP/1.1 503 x\r\nContent-Length: 100\r\n\r\n<Error>").await.unwrap();
            ended(&mut stream).await;
            begun.elapsed()
        })
        .await;
    let answer = answer.unwrap();
    assert_eq!((answer.status().as_u16(), &**answer.body()), (503, &b"<Error>"[..]));
    assert!(waited < STALL, "{waited:?}: who reads the body would have given up before");
}

#[tokio::test]
async fn the_words_of_a_success_are_not_waited_for() {
    let both = Both::new().await;
    let (answer, ()) = both
        .put(async {
            let mut stream = both.accept().await;
            let last = b"HTTP/1.1 200 x\r\nETag: e\r\nContent-Length: 100\r\n\r\n";
            take_and_say(&mut stream, &[GO_ON], last).await;
            let gone = timeout(STALL / 2, stream.read_u8()).await.expect("at once");
            assert!(gone.is_err());
        })
        .await;
    assert_eq!(status(&answer), Some(StatusCode::OK));
}

#[tokio::test]
async fn a_body_that_is_broken_off_resets_its_connection() {
    let both = Both::new().await;
    let (answer, read) = both
        .put_some((BODY.len() / 2, Then::BreakOff), async {
            let mut stream = both.accept().await;
            asked(&mut stream).await;
            stream.write_all(GO_ON).await.unwrap();
            let mut body = Vec::new();
            let end = stream.read_to_end(&mut body).await;
            (end.map_err(|error| error.kind()).err(), body.len())
        })
        .await;
    assert!(matches!(answer, Err(ClientError::Exchange(_))), "{answer:?}");
    assert_eq!(read, (Some(io::ErrorKind::ConnectionReset), BODY.len() / 2));
}

#[tokio::test]
async fn a_store_that_takes_nothing_is_given_up() {
    let mut both = Both::new().await;
    // More than the kernel holds.
    both.head.headers.insert("x-long", "x".repeat(8 << 20).parse().unwrap());
    let begun = Instant::now();
    let (answer, _) = both.put(async { both.accept().await }).await;
    assert!(matches!(answer, Err(ClientError::Exchange(_))), "{answer:?}");
    assert!(begun.elapsed() >= STALL, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn what_is_kept_is_bounded_and_old_ones_are_closed() {
    let both = Both::new().await;
    let (to, lasting) = ("http://x", Duration::from_millis(50));
    let idle = Idle::new(1, lasting);
    let mut streams = Vec::new();
    for _ in 0..2 {
        let client = TcpStream::connect(both.listener.local_addr().unwrap());
        let (client, stream) = tokio::join!(client, both.accept());
        idle.keep(Line::new(to.to_owned(), Wire::new(client.unwrap(), STALL).into()));
        streams.push(stream);
    }
    ended(&mut streams.pop().unwrap()).await;
    assert!(idle.take("http://y").is_none());
    let line = idle.take(to).expect("the first is kept");
    idle.keep(line);
    tokio::time::sleep(lasting).await;
    assert!(idle.take(to).is_none(), "it is old");
    ended(&mut streams.pop().unwrap()).await;
}
