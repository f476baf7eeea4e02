//! How a connection ends: with a lingering close, so that a client can read what was said last.
//!
//! An answer that was sent before the body was read would be lost otherwise, because the kernel resets a connection that is closed
//! with unread bytes. Only who took nothing of an answer is reset, so that the kernel keeps nothing for it.

use std::{cell::RefCell, fmt::Write as _, io, net::SocketAddr, time::Duration};

use rustix::net::{RecvFlags, recv};
use tokio::{
    io::{AsyncWriteExt as _, Interest},
    net::TcpStream,
    sync::OwnedSemaphorePermit,
    time::timeout,
};
use tracing::debug;

use super::super::{
    Code, Problem,
    context::{REQUEST_ID, new_id},
    wire::End,
};

/// How long a closed connection may take to notice, or to go on with what it is still sending.
pub(super) const LINGER: Duration = Duration::from_secs(5);

/// How long it may take in all: one of thousands that are refused at once reads its answer late (as long as nginx's `lingering_time`).
const LINGER_IN_ALL: Duration = Duration::from_secs(30);

/// How much is thrown away at once, in bytes.
const THROWN_AWAY: usize = 64 << 10;

/// How long, between two requests: only the next one may be on its way.
const IDLE_LINGER: Duration = Duration::from_millis(200);

/// When a client may come back whose address has too many connections.
const TURNED_AWAY: Duration = Duration::from_secs(1);

/// Who asks for more at once than one address may.
pub(super) fn too_many() -> Problem {
    Problem::new(Code::TooManyConnections).retry_after(TURNED_AWAY)
}

/// Answers a connection that its address has too many of, whatever it was going to ask.
pub(in crate::http) async fn turn_away(mut stream: TcpStream, linger: u64, _farewell: OwnedSemaphorePermit) {
    let said = async {
        if stream.write_all(&last_word(&too_many().close())).await.is_ok() {
            linger_on(stream, End::Said, linger).await;
        }
    };
    // Who does not read it in time does not want to know.
    let _ = timeout(LINGER, said).await;
}

/// Ends a connection; of what still comes, `linger` bytes are read and thrown away.
pub(super) async fn farewell(stream: TcpStream, peer: SocketAddr, end: End, linger: u64) {
    let patience = if end == End::Idle { IDLE_LINGER } else { LINGER_IN_ALL };
    if timeout(patience, linger_on(stream, end, linger)).await.is_err() {
        debug!(%peer, "connection closed on a client that would not");
    }
}

/// Says the last word where hyper could not, and closes so that the client can read it.
async fn linger_on(mut stream: TcpStream, end: End, linger: u64) {
    let open = match end {
        End::Said | End::Idle => true,
        End::Owing(code) => {
            let word = last_word(&Problem::new(code).close());
            matches!(timeout(LINGER, stream.write_all(&word)).await, Ok(Ok(())))
        }
        // Whether or not the kernel can be told to forget it: it is closed.
        End::Stalled => stream.set_zero_linger().is_err(),
    };
    if !open || stream.shutdown().await.is_err() {
        return;
    }
    let mut rest = linger;
    while rest > 0
        && let Ok(Ok(thrown_away @ 1..)) = timeout(LINGER, throw_away(&stream, rest)).await
    {
        rest = rest.saturating_sub(thrown_away);
    }
}

/// Has the kernel throw away what has come, which spares the copy (on Linux: tcp(7), `MSG_TRUNC`); 0 at the end.
async fn throw_away(stream: &TcpStream, most: u64) -> io::Result<u64> {
    thread_local! {
        // Only its length counts; there is one for each thread that ever came here.
        static BIN: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let thrown_away = stream
        .async_io(Interest::READABLE, || {
            BIN.with_borrow_mut(|bin| {
                bin.resize(THROWN_AWAY, 0);
                let most = most.min(bin.len());
                Ok(recv(stream, &mut bin[..most], RecvFlags::TRUNC)?.1)
            })
        })
        .await?;
    Ok(u64::try_from(thrown_away).unwrap_or(u64::MAX))
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
