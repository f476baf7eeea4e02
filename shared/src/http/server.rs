//! The accept loop: connections are bounded in number, all of them and those of each address.
//!
//! Who is over the limit waits in the kernel's backlog; who has more than an address may have is told so. What happens on a
//! connection, and how it ends, is in `connection`.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use http::Request;
use socket2::{Domain, Socket, Type};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::sleep,
};
use tracing::{debug, warn};

use super::{
    Reply, RequestBody,
    addresses::Addresses,
    buffers::Live,
    connection::{self, Windows},
};
use crate::{
    config::Settings,
    shutdown::{Stop, Tasks},
};

/// The kernel's buffers of each connection, in bytes (`SO_RCVBUF`, `SO_SNDBUF`; it takes twice as much for its own books).
const SOCKET_BUFFER: usize = 256 << 10;

/// Its receive buffer where bodies are relayed to a store: while that stalls, these buffers are the largest memory of all, 160 MiB for a
/// thousand streams (500 MiB with 256 KiB each). They cannot be made smaller later: what a client was granted and is then dropped comes
/// again after ever longer waits.
const RELAYED_BUFFER: usize = 96 << 10;

/// How many of those that were turned away are told so at once.
const FAREWELLS: usize = 64;

/// How long accepting rests when the process is out of file descriptors.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// Answers requests.
pub trait Handler: Send + Sync + 'static {
    /// The answer to a request. Dropped when the client goes away.
    fn handle(&self, request: Request<RequestBody>) -> impl Future<Output = Reply> + Send;

    /// A connection was not listened to, or a stream of HTTP/2, because there were as many as there may be.
    fn turned_away(&self) {}
}

/// An address that is ours, and refuses connections until it listens.
#[derive(Debug)]
pub struct Bound(Socket);

impl Bound {
    /// Takes an address, with buffers of a known size, which its connections inherit.
    ///
    /// # Errors
    /// When it is taken or not ours.
    pub fn to(address: SocketAddr, rules: &Rules) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.set_recv_buffer_size(if rules.relays { RELAYED_BUFFER } else { SOCKET_BUFFER })?;
        socket.set_send_buffer_size(SOCKET_BUFFER)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        Ok(Self(socket))
    }

    /// Takes connections from now on.
    ///
    /// # Errors
    /// When somebody else listens there by now.
    pub fn listen(self) -> io::Result<TcpListener> {
        self.0.listen(4096)?;
        TcpListener::from_std(self.0.into())
    }
}

/// What rules a listener's connections.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// The most connections at once, and streams of HTTP/2.
    pub connections: usize,
    /// The most of them from one address.
    pub connections_per_address: usize,
    /// Until a connection's first byte, and from there or the answer before to the end of a head.
    pub header_timeout: Duration,
    /// After this, a tenth more or less, a connection ends behind its next answer.
    pub max_age: Duration,
    /// Without a byte of an answer taken.
    pub stall_timeout: Duration,
    /// The most bytes that are read and thrown away after the last answer.
    pub linger: u64,
    /// Whether bodies go on to a store over the network, so that what was read of them waits in memory for it.
    pub relays: bool,
}

impl From<&Settings> for Rules {
    fn from(settings: &Settings) -> Self {
        let limits = &settings.ingest.limits;
        Self {
            connections: limits.connections,
            connections_per_address: (limits.connections * usize::from(limits.connections_per_address.0))
                .div_ceil(100),
            header_timeout: limits.header_timeout.0,
            max_age: limits.max_connection_age.0,
            stall_timeout: limits.stall_timeout.0,
            linger: limits.linger.0,
            relays: settings.storage.url.scheme() != "file",
        }
    }
}

/// What all connections of a listener share.
pub(super) struct Listener<H> {
    pub(super) handler: Arc<H>,
    pub(super) rules: Rules,
    pub(super) tasks: Tasks,
    pub(super) stop: Stop,
    /// For each connection one, and for each stream of HTTP/2.
    pub(super) permits: Arc<Semaphore>,
    pub(super) addresses: Addresses,
    pub(super) windows: Windows,
}

/// Serves a listener until `stop`; then connections end with the answers they are at.
pub async fn serve<H: Handler>(
    listener: TcpListener,
    handler: Arc<H>,
    rules: Rules,
    tasks: Tasks,
    stop: Stop,
) {
    let shared = Arc::new(Listener {
        handler,
        rules,
        tasks,
        stop,
        permits: Arc::new(Semaphore::new(rules.connections)),
        addresses: Addresses::new(rules.connections_per_address),
        windows: Windows::default(),
    });
    let (live, farewells) = (Live::new(rules.relays), Arc::new(Semaphore::new(FAREWELLS)));
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &shared.permits) => accepted,
            () = shared.stop.cancelled() => return,
        };
        match accepted {
            Ok((stream, peer, permit)) => {
                let Some(counted) = shared.addresses.enter(peer.ip()) else {
                    shared.handler.turned_away();
                    debug!(%peer, "connection turned away, its address has too many");
                    // Beyond these it is closed without a word.
                    if let Ok(farewell) = Arc::clone(&farewells).try_acquire_owned() {
                        let told = connection::turn_away(stream, rules.linger, farewell);
                        shared.tasks.spawn("farewell", move |_| told);
                    }
                    continue;
                };
                let (held, shared) = ((permit, counted, live.enter()), Arc::clone(&shared));
                let tasks = shared.tasks.clone();
                tasks.spawn("connection", move |_| connection::run(stream, peer, held, shared));
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
