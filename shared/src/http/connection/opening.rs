//! Which HTTP a client speaks, told from its first bytes before any of them is read.

use std::{io, time::Duration};

use tokio::{net::TcpStream, time::sleep};

/// How every HTTP/2 connection begins (RFC 9113 section 3.4); as HTTP/1 it would be a method that nobody has.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The first rest before a part of the preface is looked at again. Each is twice as long, so that who never sends the other part
/// wakes nobody up.
const REST: Duration = Duration::from_millis(1);

/// What a client speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Version {
    Http1,
    Http2,
}

/// Waits for as many bytes as it takes to tell; `begun` becomes true with the first of them. Who goes away speaks HTTP/1, and is
/// understood there.
pub(super) async fn version(stream: &TcpStream, begun: &mut bool) -> io::Result<Version> {
    let mut first = [0; PREFACE.len()];
    let mut rest = REST;
    loop {
        let there = stream.peek(&mut first).await?;
        let seen = first.get(..there).unwrap_or_default();
        if seen == PREFACE {
            return Ok(Version::Http2);
        }
        if seen.is_empty() || !PREFACE.starts_with(seen) {
            return Ok(Version::Http1);
        }
        *begun = true;
        sleep(rest).await;
        rest *= 2;
    }
}
