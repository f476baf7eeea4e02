//! One try over one connection, with a deadline for each step.
//!
//! The connection is driven by the try that uses it and by nobody else, so what is dropped is cut off at once. An answer that comes before
//! the body's end is the answer: the rest of the body stays here, and the connection is not used again.

use std::{
    error::Error,
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use headworks_shared::{clock::Clock, report::Report};
use http::{HeaderValue, Request, Response, header::CONNECTION};
use http_body_util::BodyExt as _;
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
    rt::{Read, Write},
};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use tokio::time::{Instant, sleep_until, timeout};
use tower_service::Service;

use super::{
    answer::{Answer, understand},
    source::{CHUNK, FileBody, Passing},
    target::Server,
};

/// The longest time for a connection, its TLS handshake included.
const CONNECT: Duration = Duration::from_secs(10);

/// The longest time in which a connection takes nothing and the server says nothing. The kernel's buffers hide what the network does, so
/// a line needs about 5 KB/s for each stream.
const STALL: Duration = Duration::from_secs(60);

/// The kernel's buffer for each connection, in bytes: what is in it counts as sent and is not.
const SEND_BUFFER: usize = 256 << 10;

/// How much of an answer is read, in bytes; a receipt and a problem are far shorter.
const MAX_ANSWER: usize = 64 << 10;

/// Makes connections to one server.
#[derive(Clone, Debug)]
pub(super) struct Client {
    server: Server,
    connector: Connector,
    clock: Clock,
}

#[derive(Clone, Debug)]
enum Connector {
    Tls(HttpsConnector<HttpConnector>),
    /// No root certificates are needed.
    Plain(HttpConnector),
}

/// A connection that waits for its next request.
pub(super) struct Line {
    sender: SendRequest<FileBody>,
    driver: Driver,
}

type Driver = Pin<Box<dyn Future<Output = Result<(), hyper::Error>> + Send>>;

impl Client {
    /// # Errors
    /// When root certificates are needed, and the machine has none.
    pub(super) fn new(server: &Server) -> std::io::Result<Self> {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT));
        connector.set_send_buffer_size(Some(SEND_BUFFER));
        let connector = if server.is_https() {
            let roots = HttpsConnectorBuilder::new().with_native_roots()?;
            Connector::Tls(roots.https_only().enable_http1().wrap_connector(connector))
        } else {
            Connector::Plain(connector)
        };
        Ok(Self { server: server.clone(), connector, clock: Clock::system() })
    }

    /// Sends a request over the line that is there, or a new one, and puts it back if it can be used again.
    pub(super) async fn exchange(
        &self,
        kept: &mut Option<Line>,
        request: Request<FileBody>,
        passing: &Arc<Passing>,
    ) -> Result<Answer, NoAnswer> {
        let mut line = match open(kept).await {
            Some(line) => line,
            None => timeout(CONNECT, self.connect()).await.map_err(|_| NoAnswer::ConnectTimeout)??,
        };
        let (answer, last) = tokio::select! {
            answer = line.answer(request, &self.clock) => answer?,
            () = stalled(passing) => return Err(NoAnswer::Stalled),
        };
        *kept = (!last && passing.whole().is_some()).then_some(line);
        Ok(answer)
    }

    async fn connect(&self) -> Result<Line, NoAnswer> {
        match &self.connector {
            Connector::Tls(connector) => connect(connector.clone(), &self.server).await,
            Connector::Plain(connector) => connect(connector.clone(), &self.server).await,
        }
    }
}

async fn connect<C>(mut connector: C, server: &Server) -> Result<Line, NoAnswer>
where
    C: Service<http::Uri, Response: Read + Write + Unpin + Send + 'static, Error: Into<BoxError>>,
{
    let address = server.address().map_err(|error| NoAnswer::Connect(error.into()))?;
    let connected = async {
        poll_fn(|context| connector.poll_ready(context)).await?;
        connector.call(address).await
    };
    let stream = connected.await.map_err(|error| NoAnswer::Connect(error.into()))?;
    let buffer = usize::try_from(CHUNK).unwrap_or(usize::MAX);
    let (sender, connection) =
        http1::Builder::new().max_buf_size(buffer).handshake(stream).await.map_err(NoAnswer::Broken)?;
    Ok(Line { sender, driver: Box::pin(connection) })
}

/// The line that was kept, unless the server has closed it meanwhile.
async fn open(kept: &mut Option<Line>) -> Option<Line> {
    let mut line = kept.take()?;
    let ended = poll_fn(|context| Poll::Ready(line.driver.as_mut().poll(context).is_ready())).await;
    (!ended && !line.sender.is_closed()).then_some(line)
}

impl Line {
    /// The answer, and whether it is the last one on this line.
    async fn answer(
        &mut self,
        request: Request<FileBody>,
        clock: &Clock,
    ) -> Result<(Answer, bool), NoAnswer> {
        let Self { sender, driver } = self;
        let mut exchange = pin!(async {
            sender.ready().await.map_err(NoAnswer::Broken)?;
            let response = sender.send_request(request).await.map_err(NoAnswer::Broken)?;
            Ok(read(response, clock).await)
        });
        tokio::select! {
            answer = &mut exchange => return answer,
            // What became of the connection is known to the exchange too, and an answer that came before is more.
            _ended = driver => {}
        }
        exchange.await
    }
}

/// Reads a short answer; one that breaks off is understood by its head, unless it was a receipt.
async fn read(response: Response<Incoming>, clock: &Clock) -> (Answer, bool) {
    let (head, mut body) = response.into_parts();
    let close = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"close");
    let last = head.headers.get(CONNECTION).is_some_and(close);
    let mut content = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            if head.status.is_success() {
                return (Answer::Fault("the answer broke off".to_owned()), true);
            }
            break;
        };
        let data: Bytes = frame.into_data().unwrap_or_default();
        content.extend_from_slice(&data);
        if content.len() > MAX_ANSWER {
            break;
        }
    }
    (understand(head.status, &head.headers, &content, clock.now()), last)
}

/// Ends when nothing has moved for too long.
async fn stalled(passing: &Passing) {
    loop {
        let limit = passing.moved() + STALL;
        if limit <= Instant::now() {
            return;
        }
        sleep_until(limit).await;
    }
}

type BoxError = Box<dyn Error + Send + Sync>;

/// A try came to no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAnswer {
    /// Nobody is there.
    #[error("{}", reached(.0.as_ref()))]
    Connect(BoxError),
    /// Nobody is there, as far as one can wait.
    #[error("no connection within {CONNECT:?}")]
    ConnectTimeout,
    /// The connection broke.
    #[error("{}", Report(.0))]
    Broken(hyper::Error),
    /// Nothing happened any more.
    #[error("nothing was taken and nothing was answered for {STALL:?}")]
    Stalled,
}

fn reached(error: &(dyn Error + Send + Sync + 'static)) -> String {
    Report(error).to_string()
}
