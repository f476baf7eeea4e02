//! Connects to receivers, but never into the operator's own network: whoever may name a receiver could otherwise reach what only this
//! machine can reach (server-side request forgery).
//!
//! The address that was checked is the address that is connected to: the name is resolved here, once, and nobody resolves it again, so
//! a name that changes its mind gains nothing. Addresses in the URL go the same way.

use std::{
    future::Future,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tower_service::Service;

/// The longest time for one address, so that a name with a dead address gets to its next within the time of a try.
const CONNECT: Duration = Duration::from_secs(5);

/// The most addresses of a name that are tried.
const MAX_ADDRESSES: usize = 4;

/// Makes connections to public addresses; to all where `allow_private`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Connector {
    /// `notify.allow_private`.
    pub(super) allow_private: bool,
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TcpStream>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let allow_private = self.allow_private;
        Box::pin(async move { connect(&uri, allow_private).await.map(TokioIo::new) })
    }
}

async fn connect(uri: &Uri, allow_private: bool) -> Result<TcpStream, ConnectError> {
    let host = bare(uri.host().ok_or(ConnectError::NoHost)?);
    let default_port = if uri.scheme_str() == Some("https") { 443 } else { 80 };
    let resolved = lookup_host((host, uri.port_u16().unwrap_or(default_port))).await;
    let (fit, unfit): (Vec<SocketAddr>, Vec<_>) = resolved
        .map_err(ConnectError::Resolve)?
        .partition(|address| allow_private || is_public(address.ip()));
    let mut last = if unfit.is_empty() { ConnectError::NoAddress } else { ConnectError::Private };
    for address in fit.into_iter().take(MAX_ADDRESSES) {
        match timeout(CONNECT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Small requests go out at once; where that cannot be set, they still go.
                stream.set_nodelay(true).ok();
                return Ok(stream);
            }
            Ok(Err(error)) => last = ConnectError::Connect(error),
            Err(_) => last = ConnectError::Connect(io::ErrorKind::TimedOut.into()),
        }
    }
    Err(last)
}

/// A host without the brackets that a URL puts around an IPv6 address.
pub(super) fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// Whether an address belongs to the public network, by IANA's registries of special-purpose addresses.
/// <https://www.iana.org/assignments/iana-ipv4-special-registry> <https://www.iana.org/assignments/iana-ipv6-special-registry>
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    !matches!(
        address.octets(),
        [0 | 10 | 127, ..]                       // this network, private, loopback
            | [100, 64..=127, ..]                // carrier-grade NAT
            | [169, 254, ..]                     // link-local, cloud metadata
            | [172, 16..=31, ..] | [192, 168, ..] // private
            | [192, 0, 0 | 2, _] | [198, 51, 100, _] | [203, 0, 113, _] // protocol assignments, documentation
            | [192, 88, 99, _]                   // 6to4 relays
            | [198, 18..=19, ..]                 // benchmarks
            | [224..=255, ..] // multicast, reserved, broadcast
    )
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    if let Some(embedded) = embedded_v4(address) {
        return is_public_v4(embedded);
    }
    match address.segments() {
        [0x2001, 0..=0x01ff, ..] => false, // protocol assignments, Teredo
        [0x2001, 0x0db8, ..] | [0x3fff, 0..=0x0fff, ..] => false, // documentation
        [0x2002, ..] => false,             // 6to4
        [first, ..] => (0x2000..=0x3fff).contains(&first), // global unicast, and nothing else
    }
}

/// The IPv4 address that is reached through this one: mapped (`::ffff:0:0/96`) or through NAT64 (`64:ff9b::/96`).
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            Some(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)))
        }
        _ => None,
    }
}

/// No connection came about.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    /// The URL names no host.
    #[error("url has no host")]
    NoHost,
    /// The name cannot be resolved.
    #[error("resolve the receiver's name")]
    Resolve(#[source] io::Error),
    /// The name has no address.
    #[error("the receiver's name has no address")]
    NoAddress,
    /// All addresses lie in a network that receivers may not lie in.
    #[error("the receiver has a private address, and notify.allow_private is off")]
    Private,
    /// Nobody answers there.
    #[error("connect to the receiver")]
    Connect(#[source] io::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_public() {
        for private in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.8.8.8",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.0.1",
            "198.18.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
        for public in [
            "1.1.1.1",
            "100.63.0.1",
            "100.128.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "223.255.255.1",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
            "2606:4700:4700::1111",
            "2a00:1450::1",
        ] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
    }

    #[tokio::test]
    async fn a_private_address_is_never_connected_to() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"] {
            let uri: Uri = format!("http://{host}:{port}/").parse().unwrap();
            let error = connect(&uri, false).await.unwrap_err();
            assert!(matches!(error, ConnectError::Private), "{host}: {error}");
        }
        let uri: Uri = format!("http://127.0.0.1:{port}/").parse().unwrap();
        connect(&uri, true).await.unwrap();
        listener.accept().await.unwrap();
        let nobody_else = timeout(Duration::from_millis(1), listener.accept()).await;
        assert!(nobody_else.is_err(), "somebody connected although the address is private");
    }
}
