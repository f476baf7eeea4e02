//! Connections to a store: pooled, over TLS or not, and with buffers that suit how many requests are under way.
//!
//! A thousand stalled streams hold 1.8 GiB in the kernel by default, and 0.1 GiB with 48 KiB for each socket; few streams are a third
//! slower with buffers that small. So there are two pools.

use std::{
    io,
    path::Path,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, Uri, request::Parts};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use tokio::time::timeout;
use tower_service::Service;

use super::{super::pipe::Pipe, body::Outgoing, exchange::Exchanges, wire::Wires};

/// How long a connection is kept for the next request: stores close theirs after 20 s or more.
const IDLE: Duration = Duration::from_secs(15);

/// With more requests than this, each has small buffers.
pub(crate) const FEW: usize = 64;

/// Buffers of one connection, in bytes.
#[derive(Clone, Copy, Debug)]
struct Buffers {
    /// What hyper gathers at most before it writes, and reads at once, for requests that carry no body as it comes.
    http: usize,
    /// `SO_SNDBUF`; the kernel doubles it.
    send: usize,
    /// `SO_RCVBUF`.
    receive: usize,
}

const LARGE: Buffers = Buffers { http: 64 << 10, send: 256 << 10, receive: 256 << 10 };
/// Little more than hyper's least.
const SMALL: Buffers = Buffers { http: 12 << 10, send: 48 << 10, receive: 48 << 10 };

/// How many connections, and how long one may take to come up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// Idle connections that are kept.
    pub(crate) idle: usize,
    /// For TCP and TLS together.
    pub(crate) connect: Duration,
    /// For a store to take the next bytes.
    pub(crate) stall: Duration,
}

type Connecting = Within<HttpsConnector<Wires>>;

/// Connections of one size.
#[derive(Clone, Debug)]
struct Pool {
    whole: legacy::Client<Connecting, Outgoing>,
    piped: Exchanges<Connecting>,
}

/// The two pools.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    few: Pool,
    many: Pool,
}

impl Client {
    /// Trusts the certificates of `bundle`, a file in PEM, or else those of the machine.
    ///
    /// # Errors
    /// When no certificate can be read and `tls` is needed.
    pub(crate) fn new(sizes: Sizes, tls: bool, bundle: Option<&Path>) -> io::Result<Self> {
        let trusted = match bundle {
            Some(file) => trusting(file)?,
            None if tls => native()?,
            // Credentials may come over TLS all the same.
            None => native().or_else(|_| nobody())?,
        };
        let pool = |buffers| pool(sizes, buffers, trusted.clone());
        Ok(Self { few: pool(LARGE), many: pool(SMALL) })
    }

    /// Sends a request, over a connection with buffers for `live` of them at once.
    pub(crate) async fn request(
        &self,
        request: Request<Outgoing>,
        live: usize,
    ) -> Result<Response<Incoming>, ClientError> {
        for pool in [&self.few, &self.many] {
            pool.piped.close_old();
        }
        self.among(live).whole.request(request).await.map_err(|error| {
            if error.is_connect() {
                ClientError::Connect(error.into())
            } else {
                ClientError::Exchange(error.into())
            }
        })
    }

    /// Sends a request whose body is a client's, over a connection with buffers for `live` of them at once.
    pub(super) async fn send(
        &self,
        head: &Parts,
        pipe: &Pipe,
        live: usize,
    ) -> Result<Response<Bytes>, ClientError> {
        self.among(live).piped.send(head, pipe).await
    }

    fn among(&self, live: usize) -> &Pool {
        if live <= FEW { &self.few } else { &self.many }
    }
}

fn pool(sizes: Sizes, buffers: Buffers, trusted: ClientConfig) -> Pool {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_send_buffer_size(Some(buffers.send));
    tcp.set_recv_buffer_size(Some(buffers.receive));
    let tls = HttpsConnectorBuilder::new()
        .with_tls_config(trusted)
        .https_or_http()
        .enable_http1()
        .wrap_connector(Wires { tcp, stall: sizes.stall });
    let connector = Within { connector: tls, limit: sizes.connect };
    let whole = legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(sizes.idle)
        .http1_max_buf_size(buffers.http)
        .build(connector.clone());
    Pool { whole, piped: Exchanges::new(connector, (sizes.idle, IDLE), sizes.stall) }
}

fn builder() -> io::Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>> {
    let provider = rustls::crypto::ring::default_provider();
    ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)
}

fn native() -> io::Result<ClientConfig> {
    use hyper_rustls::ConfigBuilderExt as _;
    Ok(builder()?.with_native_roots()?.with_no_client_auth())
}

fn trusting(bundle: &Path) -> io::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(bundle).map_err(io::Error::other)? {
        roots.add(certificate.map_err(io::Error::other)?).map_err(io::Error::other)?;
    }
    Ok(builder()?.with_root_certificates(roots).with_no_client_auth())
}

/// On a machine without certificates: none are trusted.
fn nobody() -> io::Result<ClientConfig> {
    Ok(builder()?.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

/// Connects within a time: TCP has one of its own, TLS has none.
#[derive(Clone, Debug)]
struct Within<C> {
    connector: C,
    limit: Duration,
}

type Boxed = Box<dyn std::error::Error + Send + Sync>;

impl<C> Service<Uri> for Within<C>
where
    C: Service<Uri, Error = Boxed> + Send,
    C::Future: Send + 'static,
    C::Response: 'static,
{
    type Response = C::Response;
    type Error = Boxed;
    type Future = Pin<Box<dyn Future<Output = Result<C::Response, Boxed>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Boxed>> {
        self.connector.poll_ready(context)
    }

    fn call(&mut self, address: Uri) -> Self::Future {
        let (connecting, limit) = (self.connector.call(address), self.limit);
        Box::pin(async move {
            let late = |_| Boxed::from(format!("no connection within {limit:?}"));
            timeout(limit, connecting).await.map_err(late)?
        })
    }
}

/// A request came to no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// There is no connection, so nothing was sent.
    #[error("connect to the store")]
    Connect(#[source] Boxed),
    /// The connection broke.
    #[error("exchange with the store")]
    Exchange(#[source] Boxed),
}
