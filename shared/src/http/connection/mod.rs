//! One connection, from its first byte to its farewell.

mod farewell;
mod http1;
mod http2;
mod opening;

use std::{io, net::SocketAddr, sync::Arc};

use tokio::{
    net::TcpStream,
    sync::OwnedSemaphorePermit,
    time::{Instant, timeout},
};
use tracing::debug;

use self::{farewell::farewell, opening::Version};
pub(super) use self::{farewell::turn_away, http2::Windows};
use super::{
    Code,
    addresses::Counted,
    buffers::Place,
    server::{Handler, Listener},
    wire::End,
};

/// Who is at the other end.
#[derive(Clone, Copy, Debug)]
struct Peer {
    address: SocketAddr,
    /// When the connection is to end, so that a balancer can give its client to another process.
    old_from: Instant,
}

/// What a connection holds for as long as it lasts.
pub(super) type Held = (OwnedSemaphorePermit, Counted, Place);

/// Serves one connection to its end.
pub(super) async fn run<H: Handler>(
    stream: TcpStream,
    address: SocketAddr,
    (_permit, _counted, place): Held,
    listener: Arc<Listener<H>>,
) {
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "connection lost before its first byte");
        return;
    }
    let age = listener.rules.max_age.mul_f64(0.9 + 0.2 * fastrand::f64());
    let peer = Peer { address, old_from: Instant::now() + age };
    let ended = match opened(&stream, &listener).await {
        Ok(Version::Http1) => http1::serve(stream, &peer, &place, &listener).await,
        Ok(Version::Http2) => http2::serve(stream, &peer, place, &listener).await,
        Err(Unopened::Ended(end)) => Some((stream, end)),
        Err(Unopened::Lost(error)) => {
            debug!(peer = %address, %error, "connection lost before its first request");
            return;
        }
    };
    if let Some((stream, end)) = ended {
        farewell(stream, address, end, listener.rules.linger).await;
    }
}

/// Why a connection came to no request.
enum Unopened {
    Ended(End),
    Lost(io::Error),
}

/// Waits for the first bytes, no longer than for a head, and not when nobody is served any more.
async fn opened<H>(stream: &TcpStream, listener: &Listener<H>) -> Result<Version, Unopened> {
    let mut begun = false;
    let told = timeout(listener.rules.header_timeout, opening::version(stream, &mut begun));
    let told = tokio::select! {
        told = told => told,
        () = listener.stop.cancelled() => return Err(Unopened::Ended(End::Idle)),
    };
    match told {
        Ok(version) => version.map_err(Unopened::Lost),
        Err(_) if begun => Err(Unopened::Ended(End::Owing(Code::TooSlow))),
        Err(_) => Err(Unopened::Ended(End::Idle)),
    }
}
