//! The server as its clients see it: real connections on 127.0.0.1, and a client that sends what it is told, byte by byte.

mod beside;
mod bodies;
mod heads;
mod http2;
mod limits;

use std::{
    future::poll_fn,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response};
use http_body::Body as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    sync::Semaphore,
    time::{Instant, sleep, timeout},
};

use super::{Body, Bound, Code, Context, Handler, Problem, Reply, RequestBody, Rules, serve};
use crate::{
    clock::Clock,
    shutdown::{Stop, Tasks},
};

/// For each wait. It is below the server's own lingering, so that what must not linger can be told.
const DEADLINE: Duration = Duration::from_secs(4);

/// For what must not happen.
const A_WHILE: Duration = Duration::from_millis(150);

/// The time-outs under test.
const SOON: Duration = Duration::from_millis(200);

/// More than the kernel keeps for a client that reads nothing.
const LARGE: usize = 16 << 20;

/// Answers as the path says, and keeps what it has seen.
#[derive(Debug)]
struct Sample {
    seen: Mutex<Vec<String>>,
    /// A permit for each request to `/wait` that has come.
    waiting: Semaphore,
    /// A permit for each of them that may be answered.
    go_on: Semaphore,
    /// Closed when the body of a large answer has been handed over, or dropped; or what makes an answer to `/hold`.
    handed_over: Semaphore,
}

impl Handler for Arc<Sample> {
    async fn handle(&self, request: Request<RequestBody>) -> Reply {
        let (head, body) = request.into_parts();
        let path = head.uri.path();
        let context = Context::of(&head.headers, &Clock::system());
        self.seen.lock().unwrap().push(path.to_owned());
        match path {
            "/echo" => {
                let broken = || Problem::new(Code::BadBody).close();
                let content = read(body).await.ok_or_else(broken);
                context.answer(content.map(|content| Response::new(Body::full(content))))
            }
            "/first" => {
                let mut body = body;
                let first = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
                Response::new(Body::full(first.unwrap().unwrap().into_data().unwrap()))
            }
            "/large" => {
                let length = head.uri.query().map_or(LARGE, |length| length.parse().unwrap());
                Response::new(large(Arc::clone(self), length))
            }
            "/hold" => {
                let _over = Over(Arc::clone(self));
                read(body).await;
                self.waiting.add_permits(1);
                std::future::pending().await
            }
            "/unread" => {
                let _over = Over(Arc::clone(self));
                self.waiting.add_permits(1);
                std::future::pending().await
            }
            "/panic" => {
                let over = Over(Arc::clone(self));
                Tasks::new(Stop::new()).spawn("reader", |_| async move {
                    let _over = over;
                    read(body).await;
                });
                panic!("broken on purpose")
            }
            "/wait" => {
                self.waiting.add_permits(1);
                self.go_on.acquire().await.unwrap().forget();
                Response::new(Body::full("waited"))
            }
            _ => Response::new(Body::full(path.to_owned())),
        }
    }
}

async fn read(body: impl Into<RequestBody>) -> Option<Vec<u8>> {
    let mut body = body.into();
    let mut content = Vec::new();
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        content.extend_from_slice(&frame.ok()?.into_data().unwrap_or_default());
    }
    Some(content)
}

/// Says when what holds it is dropped.
struct Over(Arc<Sample>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.handed_over.close();
    }
}

fn large(sample: Arc<Sample>, length: usize) -> Body {
    const PIECE: usize = 16 << 10;
    let pieces = stream::unfold((0, Over(sample)), move |(sent, over)| async move {
        let piece = Bytes::from_static(&[b'x'; PIECE]);
        (sent < length).then_some((Ok(piece), (sent + PIECE, over)))
    });
    Body::stream(Box::pin(pieces), length as u64)
}

/// A server, running.
struct Server {
    address: SocketAddr,
    sample: Arc<Sample>,
    tasks: Tasks,
}

impl Server {
    /// Starts one whose limits are no matter.
    fn start() -> Self {
        Self::with(|_| ())
    }

    fn with(change: impl FnOnce(&mut Rules)) -> Self {
        let mut rules = Rules {
            connections: 100,
            connections_per_address: 100,
            header_timeout: DEADLINE,
            max_age: 10 * DEADLINE,
            stall_timeout: DEADLINE,
            linger: 8 << 20,
            relays: false,
        };
        change(&mut rules);
        let [waiting, go_on, handed_over] = std::array::from_fn(|_| Semaphore::new(0));
        let sample = Arc::new(Sample { seen: Mutex::default(), waiting, go_on, handed_over });
        let listener = Bound::to("127.0.0.1:0".parse().unwrap(), &rules).and_then(Bound::listen).unwrap();
        let address = listener.local_addr().unwrap();
        let (tasks, handler) = (Tasks::new(Stop::new()), Arc::new(Arc::clone(&sample)));
        let own = tasks.clone();
        tasks.spawn("listener", move |stop| serve(listener, handler, rules, own, stop));
        Self { address, sample, tasks }
    }

    async fn connect(&self) -> Client {
        Client { stream: TcpStream::connect(self.address).await.unwrap(), seen: Vec::new() }
    }

    /// Connects a client whose kernel keeps little for it.
    async fn connect_small(&self) -> Client {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4 << 10).unwrap();
        socket.set_send_buffer_size(64 << 10).unwrap();
        Client { stream: socket.connect(self.address).await.unwrap(), seen: Vec::new() }
    }

    /// Waits for a request to `/wait`.
    async fn somebody_waits(&self) {
        timeout(DEADLINE, self.sample.waiting.acquire()).await.expect("a request to /wait").unwrap().forget();
    }

    fn let_go_on(&self) {
        self.sample.go_on.add_permits(1);
    }

    /// The paths that were asked for.
    fn seen(&self) -> Vec<String> {
        self.sample.seen.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.tasks.stop().cancel();
    }
}

struct Client {
    stream: TcpStream,
    /// Read, and not yet part of an answer.
    seen: Vec<u8>,
}

#[derive(Debug)]
struct Answer {
    head: String,
    body: String,
}

impl Client {
    /// Sends all of it, to a server that does not hang up meanwhile.
    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let sent = timeout(DEADLINE, self.stream.write_all(bytes.as_ref())).await;
        sent.expect("everything is taken in time").expect("the server takes everything");
    }

    async fn get(&mut self, path: &str) -> Answer {
        self.send(get(path)).await;
        self.answer().await
    }

    async fn answer(&mut self) -> Answer {
        self.try_answer(DEADLINE).await.unwrap_or_else(|| panic!("no answer in time, but {:?}", self.seen()))
    }

    async fn try_answer(&mut self, within: Duration) -> Option<Answer> {
        timeout(within, async {
            loop {
                if let Some(answer) = self.take_answer() {
                    return answer;
                }
                assert!(
                    self.read().await > 0,
                    "the connection ended without an answer, after {:?}",
                    self.seen()
                );
            }
        })
        .await
        .ok()
    }

    fn take_answer(&mut self) -> Option<Answer> {
        let end = self.seen.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let head = text(&self.seen[..end]);
        let length: usize = head.split_once("content-length: ")?.1.lines().next()?.parse().unwrap();
        let body = text(self.seen.get(end + 4..end + 4 + length)?);
        self.seen.drain(..end + 4 + length);
        Some(Answer { head, body })
    }

    /// Waits for the end; what came before it, and whether it was a reset.
    async fn ended(&mut self) -> (String, bool) {
        let read = async {
            loop {
                match self.stream.read_buf(&mut self.seen).await {
                    Ok(0) => return false,
                    Ok(_) => {}
                    Err(_) => return true,
                }
            }
        };
        let reset = timeout(DEADLINE, read).await.expect("the connection ends in time");
        (self.seen(), reset)
    }

    /// Waits for an orderly end with nothing before it.
    async fn closed(&mut self) {
        assert_eq!(self.ended().await, (String::new(), false));
    }

    async fn read(&mut self) -> usize {
        self.stream.read_buf(&mut self.seen).await.unwrap()
    }

    fn seen(&self) -> String {
        String::from_utf8_lossy(&self.seen).into_owned()
    }
}

impl Answer {
    #[track_caller]
    fn is_problem(&self, code: Code) {
        let status = format!("HTTP/1.1 {}\r\n", code.status());
        assert!(self.head.starts_with(&status), "{self:?}");
        for field in ["content-type: application/problem+json", "connection: close", "x-request-id: "] {
            assert!(self.head.contains(field), "{field} is missing in {self:?}");
        }
        let body: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        assert_eq!(body["code"], code.as_str(), "{self:?}");
    }

    #[track_caller]
    fn is(&self, body: &str) {
        assert!(self.head.contains(" 200 OK\r\n"), "{self:?}");
        assert_eq!(self.body, body);
    }

    fn says_close(&self) -> bool {
        self.head.contains("connection: close")
    }
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

/// A request with a body in chunks, each of which follows the other at once.
fn chunked(path: &str, chunks: &[&str]) -> String {
    let chunks: String = chunks.iter().map(|chunk| format!("{:x}\r\n{chunk}\r\n", chunk.len())).collect();
    format!("PUT {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}")
}
