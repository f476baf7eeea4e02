//! HTTP/1.1, with a connection for each that sends, or HTTP/2, with some that many share.

use std::{convert::Infallible, future::pending, io};

use hyper::{
    Request, Response, Uri,
    body::Incoming,
    client::conn::{
        http1,
        http2::{self, SendRequest},
    },
    header::HOST,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpStream, sync::Mutex, task::JoinSet};

use super::{Plan, body::Filler, connection::open};

/// How requests are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// HTTP/1.1: one request after the other on each connection.
    Http1,
    /// HTTP/2 without TLS, by prior knowledge (RFC 9113, 3.3).
    Http2 {
        /// How many share a connection.
        streams: usize,
    },
}

/// Who sends on a connection.
#[derive(Debug)]
pub(super) enum Sender {
    Http1(http1::SendRequest<Filler>),
    Http2(SendRequest<Filler>),
}

/// The work that a connection's own task does; there is none when many share it.
pub(super) type Driver = http1::Connection<TokioIo<TcpStream>, Filler>;

impl Sender {
    pub(super) async fn http1(stream: TcpStream) -> hyper::Result<(Self, Driver)> {
        let (sender, driver) = http1::handshake(TokioIo::new(stream)).await?;
        Ok((Self::Http1(sender), driver))
    }

    /// Waits until another request can be sent.
    pub(super) async fn ready(&mut self) -> hyper::Result<()> {
        match self {
            Self::Http1(sender) => sender.ready().await,
            Self::Http2(sender) => sender.ready().await,
        }
    }

    pub(super) async fn send(&mut self, request: Request<Filler>) -> hyper::Result<Response<Incoming>> {
        match self {
            Self::Http1(sender) => sender.send_request(request).await,
            Self::Http2(sender) => sender.send_request(with_authority(request)).await,
        }
    }
}

/// HTTP/2 names the host in its URI, and not in a header.
fn with_authority(mut request: Request<Filler>) -> Request<Filler> {
    request.headers_mut().remove(HOST);
    let path = request.uri().path().to_owned();
    let whole = Uri::builder().scheme("http").authority("localhost").path_and_query(path).build();
    *request.uri_mut() = whole.unwrap_or_default();
    request
}

/// Connections that many share: each is opened by the first that needs it, and again when it has ended.
#[derive(Debug)]
pub(super) struct Lines {
    streams: usize,
    lines: Vec<Mutex<Line>>,
}

#[derive(Debug, Default)]
struct Line {
    sender: Option<SendRequest<Filler>>,
    driver: JoinSet<()>,
}

impl Lines {
    /// As many as a plan needs.
    pub(super) fn of(plan: &Plan) -> Self {
        match plan.protocol {
            Protocol::Http1 => Self { streams: 1, lines: Vec::new() },
            Protocol::Http2 { streams } => {
                let count = plan.connections.div_ceil(streams.max(1));
                Self { streams: streams.max(1), lines: (0..count).map(|_| Mutex::default()).collect() }
            }
        }
    }

    /// The `number`th stream's place on its connection; `None` when the plan has none that are shared.
    pub(super) async fn place(&self, number: usize, plan: &Plan) -> io::Result<Option<Sender>> {
        let Some(line) = self.lines.get(number / self.streams) else {
            return Ok(None);
        };
        let mut line = line.lock().await;
        if let Some(sender) = line.sender.as_ref().filter(|sender| !sender.is_closed()) {
            return Ok(Some(Sender::Http2(sender.clone())));
        }
        let stream = TokioIo::new(open(plan.target).await?);
        let opened = http2::handshake(TokioExecutor::new(), stream).await.map_err(io::Error::other)?;
        let (sender, driver) = opened;
        line.driver = JoinSet::new();
        line.driver.spawn(async move { drop(driver.await) });
        line.sender = Some(sender.clone());
        Ok(Some(Sender::Http2(sender)))
    }
}

/// Drives a connection; its end is not the end of the requests: an answer may have come with it.
pub(super) async fn drive(driver: Option<Driver>) -> Infallible {
    if let Some(driver) = driver {
        drop(driver.await);
    }
    pending().await
}
