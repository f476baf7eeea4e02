//! The accept loop and its connections: bounded in number, in time and in what each may hold.
//!
//! Who is over the limit waits in the kernel's backlog; who has more than an address may have is told so.
//!
//! A connection ends with a lingering close: an answer that was sent before the body was read would be lost otherwise, because the
//! kernel resets a connection that is closed with unread bytes. Only who took nothing of an answer is reset, so that the kernel keeps
//! nothing for it.

use std::{convert::Infallible, fmt::Write as _, io, net::SocketAddr, sync::Arc, time::Duration};

use http::{HeaderValue, Request, header::CONNECTION};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep, timeout},
};
use tracing::{debug, warn};

use super::{
    Code, Problem, Reply,
    addresses::{Addresses, Counted},
    answers::Answers,
    buffers::{Live, Place},
    context::{REQUEST_ID, new_id},
    wire::{End, Wire},
};
use crate::{
    config::settings::Limits,
    shutdown::{Stop, Tasks},
};

/// The kernel's buffers of each connection, in bytes: with a store that stalls they are the largest memory of all.
const SOCKET_BUFFER: usize = 256 << 10;

/// How long a closed connection may take to notice.
const LINGER: Duration = Duration::from_secs(5);

/// How long, between two requests: only the next one may be on its way.
const IDLE_LINGER: Duration = Duration::from_millis(200);

/// How many of those that were turned away are told so at once.
const FAREWELLS: usize = 64;

/// When a client may come back whose address has too many connections.
const TURNED_AWAY: Duration = Duration::from_secs(1);

/// How long accepting rests when the process is out of file descriptors.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// Answers requests.
pub trait Handler: Send + Sync + 'static {
    /// The answer to a request. Dropped when the client goes away.
    fn handle(&self, request: Request<Incoming>) -> impl Future<Output = Reply> + Send;

    /// A connection was not listened to, because its address has too many.
    fn turned_away(&self) {}
}

/// Opens a listener with buffers of a known size, which its connections inherit.
///
/// # Errors
/// When the address is taken or not ours.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_recv_buffer_size(SOCKET_BUFFER)?;
    socket.set_send_buffer_size(SOCKET_BUFFER)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    TcpListener::from_std(socket.into())
}

/// What rules a listener's connections.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// The most connections at once.
    pub connections: usize,
    /// The most of them from one address.
    pub connections_per_address: usize,
    /// From a request's first moment to its head's end.
    pub header_timeout: Duration,
    /// After this, a tenth more or less, a connection ends behind its next answer.
    pub max_age: Duration,
    /// Without a byte of an answer taken.
    pub stall_timeout: Duration,
    /// The most bytes that are read and thrown away after the last answer.
    pub linger: u64,
}

impl From<&Limits> for Rules {
    fn from(limits: &Limits) -> Self {
        Self {
            connections: limits.connections,
            connections_per_address: (limits.connections * usize::from(limits.connections_per_address.0))
                .div_ceil(100),
            header_timeout: limits.header_timeout.0,
            max_age: limits.max_connection_age.0,
            stall_timeout: limits.stall_timeout.0,
            linger: limits.linger.0,
        }
    }
}

/// Serves a listener until `stop`; then connections end with the answer they are at.
pub async fn serve<H: Handler>(
    listener: TcpListener,
    handler: Arc<H>,
    rules: Rules,
    tasks: Tasks,
    stop: Stop,
) {
    let permits = Arc::new(Semaphore::new(rules.connections));
    let (live, addresses) = (Live::default(), Addresses::new(rules.connections_per_address));
    let farewells = Arc::new(Semaphore::new(FAREWELLS));
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &permits) => accepted,
            () = stop.cancelled() => return,
        };
        match accepted {
            Ok((stream, peer, permit)) => {
                let Some(counted) = addresses.enter(peer.ip()) else {
                    handler.turned_away();
                    debug!(%peer, "connection turned away, its address has too many");
                    // Beyond these it is closed without a word.
                    if let Ok(farewell) = Arc::clone(&farewells).try_acquire_owned() {
                        tasks.spawn("farewell", move |_| turn_away(stream, rules.linger, farewell));
                    }
                    continue;
                };
                let (handler, held) = (Arc::clone(&handler), (permit, counted, live.enter()));
                let stop = stop.clone();
                tasks.spawn("connection", move |_| connection(stream, peer, handler, rules, held, stop));
            }
            Err(error) => {
                warn!(%error, "connection not accepted");
                sleep(ACCEPT_REST).await;
            }
        }
    }
}

async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let permit = Arc::clone(permits).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, permit))
}

async fn connection<H: Handler>(
    stream: TcpStream,
    peer: SocketAddr,
    handler: Arc<H>,
    rules: Rules,
    (_permit, _counted, place): (OwnedSemaphorePermit, Counted, Place),
    stop: Stop,
) {
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "connection lost before its first byte");
        return;
    }
    let answers = Answers::default();
    let wire = Wire::new(stream, answers.clone(), place.clone(), rules.stall_timeout);
    let old_from = Instant::now() + rules.max_age.mul_f64(0.9 + 0.2 * fastrand::f64());
    let service = service_fn(move |request| {
        let (handler, owed) = (Arc::clone(&handler), answers.owe());
        Box::pin(async move {
            let mut answer = handler.handle(request).await.map(|body| owed.until_written(body));
            if Instant::now() >= old_from {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(answer)
        })
    });
    let mut served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(rules.header_timeout)
        .max_buf_size(place.bound())
        .max_headers(128)
        .serve_connection(TokioIo::new(wire), service);
    let ended = tokio::select! {
        // Who stops has said so before what is answered now.
        biased;
        () = stop.cancelled() => {
            std::pin::Pin::new(&mut served).graceful_shutdown();
            (&mut served).await
        }
        ended = &mut served => ended,
    };
    if let Err(error) = &ended {
        debug!(%peer, %error, "connection ended early");
    }
    let slow = ended.is_err_and(|error| error.is_timeout());
    let (stream, end) = served.into_parts().io.into_inner().into_end(slow);
    let patience = if end == End::Idle { IDLE_LINGER } else { LINGER };
    if timeout(patience, farewell(stream, end, rules.linger)).await.is_err() {
        debug!(%peer, "connection closed on a client that would not");
    }
}

/// Answers a connection that its address has too many of, whatever it was going to ask.
async fn turn_away(mut stream: TcpStream, linger: u64, _farewell: OwnedSemaphorePermit) {
    let problem = Problem::new(Code::TooManyConnections).retry_after(TURNED_AWAY).close();
    let said = async {
        if stream.write_all(&last_word(&problem)).await.is_ok() {
            farewell(stream, End::Said, linger).await;
        }
    };
    // Who does not read it in time does not want to know.
    let _ = timeout(LINGER, said).await;
}

/// Says the last word where hyper could not, and closes so that the client can read it.
async fn farewell(mut stream: TcpStream, end: End, linger: u64) {
    let open = match end {
        End::Said | End::Idle => true,
        End::Owing(code) => stream.write_all(&last_word(&Problem::new(code).close())).await.is_ok(),
        // Whether or not the kernel can be told to forget it: it is closed.
        End::Stalled => stream.set_zero_linger().is_err(),
    };
    if !open || stream.shutdown().await.is_err() {
        return;
    }
    let mut rest = stream.take(linger);
    let mut thrown_away = [0; 4096];
    while rest.read(&mut thrown_away).await.is_ok_and(|bytes| bytes > 0) {}
}

/// A problem as the bytes of an HTTP/1.1 answer, as hyper would write them.
fn last_word(problem: &Problem) -> Vec<u8> {
    let id = new_id();
    let (head, body) = problem.to_reply(&id).into_parts();
    let body = body.into_bytes().unwrap_or_default();
    let mut text = format!("HTTP/1.1 {}\r\n{REQUEST_ID}: {id}\r\n", head.status);
    for (name, value) in &head.headers {
        // What was made here is text; and writing to a `String` cannot fail.
        let _ = write!(text, "{name}: {}\r\n", value.to_str().unwrap_or_default());
    }
    let _ = write!(text, "content-length: {}\r\n\r\n", body.len());
    [text.as_bytes(), &body].concat()
}
