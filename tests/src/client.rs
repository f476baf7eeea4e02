//! A well-behaved HTTP/1.1 client, for all that is not about bad input.

use std::{convert::Infallible, net::SocketAddr, pin::pin};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use futures_util::stream;
use http::{Method, Request, Response};
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::BoxBody};
use hyper::{body::Incoming, client::conn::http1::handshake};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

use crate::{Answer, DEADLINE};

/// The largest answer that a test reads.
const MAX_ANSWER: usize = 64 << 20;

/// Calls one address, each time on a new connection.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    address: SocketAddr,
}

/// A request to be sent.
#[derive(Debug)]
pub struct Call {
    address: SocketAddr,
    request: http::request::Builder,
    body: BoxBody<Bytes, Infallible>,
}

impl Client {
    /// A client of this address.
    pub fn new(address: SocketAddr) -> Self {
        Self { address }
    }

    /// A request without a body.
    pub fn call(&self, method: Method, target: &str) -> Call {
        let request = Request::builder().method(method).uri(target).header("host", self.address.to_string());
        Call { address: self.address, request, body: Full::default().boxed() }
    }

    /// Reads.
    pub fn get(&self, target: &str) -> Call {
        self.call(Method::GET, target)
    }

    /// Puts a file at a path.
    pub fn put(&self, path: &str, content: impl Into<Bytes>) -> Call {
        self.call(Method::PUT, &format!("/v1/files/{path}")).body(content)
    }
}

impl Call {
    /// Adds a field.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<str>) -> Self {
        self.request = self.request.header(name, value.as_ref());
        self
    }

    /// Sends a body of known length.
    #[must_use]
    pub fn body(mut self, content: impl Into<Bytes>) -> Self {
        self.body = Full::new(content.into()).boxed();
        self
    }

    /// Sends a body of unknown length, a chunk for each piece.
    #[must_use]
    pub fn chunks(mut self, pieces: Vec<Bytes>) -> Self {
        let frames = pieces.into_iter().map(|piece| Ok(Frame::data(piece)));
        self.body = StreamBody::new(stream::iter(frames)).boxed();
        self
    }

    /// Sends it, and reads the answer to its end.
    ///
    /// # Errors
    /// When there is no answer in time.
    pub async fn send(self) -> Result<Answer> {
        timeout(DEADLINE, self.exchange()).await.context("an answer in time")?
    }

    async fn exchange(self) -> Result<Answer> {
        let request = self.request.body(self.body)?;
        let stream = TcpStream::connect(self.address).await.context("connect")?;
        stream.set_nodelay(true)?;
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
        let mut exchange = pin!(async move { read(sender.send_request(request).await?).await });
        let mut connection = pin!(connection);
        tokio::select! {
            answer = &mut exchange => return answer,
            _ended = &mut connection => {}
        }
        // The server has closed the connection; what it said before is still to be read.
        exchange.await
    }
}

async fn read(response: Response<Incoming>) -> Result<Answer> {
    let (head, body) = response.into_parts();
    let mut body = pin!(body);
    let mut content = Vec::new();
    while let Some(frame) = std::future::poll_fn(|context| body.as_mut().poll_frame(context)).await {
        if let Ok(data) = frame?.into_data() {
            content.extend_from_slice(&data);
            ensure!(content.len() <= MAX_ANSWER, "an answer of over {MAX_ANSWER} bytes");
        }
    }
    Ok(Answer {
        status: head.status.as_u16(),
        headers: head.headers,
        body: content.into(),
        interim: Vec::new(),
    })
}
