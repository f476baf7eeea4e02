//! A connection that speaks HTTP/2, from its first byte on (RFC 9113 section 3.3): many requests at once.
//!
//! A stream counts as a connection does: one address may have so many and no more, and so may all of them. What clients may send
//! ahead is bounded, and what they may leave undone: their answers untaken, their requests abandoned, their connections idle.

mod conduct;
mod stream;
mod windows;

use std::{convert::Infallible, sync::Arc};

use http::{Request, header::HOST};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpStream, time::sleep_until};
use tracing::debug;

pub(in crate::http) use self::windows::Windows;
use self::{
    conduct::{Conduct, Open},
    stream::{Answer, Place, Streams},
};
use super::{
    super::{
        Code, Problem, Reply, RequestBody, buffers,
        context::new_id,
        screen::{MAX_FIELDS, MAX_HEAD},
        server::{Handler, Listener},
        wire::{End, Wire},
    },
    Peer,
    farewell::{LINGER, too_many},
};

/// The most streams of one connection at once: a thousand take four connections, which share what a thousand connections may hold.
const STREAMS: u32 = 256;

/// The most bytes of an answer that wait in user space for the kernel.
const SEND_BUFFER: usize = 64 << 10;

/// Answers its requests until it ends; the stream, and what is to be done with it.
pub(super) async fn serve<H: Handler>(
    stream: TcpStream,
    peer: &Peer,
    place: buffers::Place,
    listener: &Arc<Listener<H>>,
) -> Option<(TcpStream, End)> {
    let (rules, window) = (&listener.rules, listener.windows.take());
    let wire = Wire::unscreened(stream, place, rules.stall_timeout);
    let conduct = Arc::new(Conduct::default());
    let (shared, own, address) = (Arc::clone(listener), Arc::clone(&conduct), peer.address);
    let service = service_fn(move |request| {
        let place =
            Arc::clone(&shared.permits).try_acquire_owned().ok().zip(shared.addresses.enter(address.ip()));
        Box::pin(answer(request, Arc::clone(&shared.handler), place, own.begin()))
    });
    let streams = Streams { tasks: listener.tasks.clone(), patience: rules.stall_timeout };
    let served = http2::Builder::new(streams)
        .timer(TokioTimer::new())
        .initial_connection_window_size(window.of_connection())
        .initial_stream_window_size(window.of_stream())
        .max_concurrent_streams(STREAMS)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX))
        .keep_alive_interval(rules.stall_timeout)
        .keep_alive_timeout(rules.header_timeout)
        .serve_connection(TokioIo::new(wire.clone()), service);
    let mut served = Box::pin(served);
    let mut ending = false;
    loop {
        tokio::select! {
            // Who stops has said so before what is answered now.
            biased;
            () = listener.stop.cancelled(), if !ending => {}
            () = sleep_until(peer.old_from), if !ending => {}
            () = conduct.enough() => {
                debug!(peer = %peer.address, "connection ended, its client abandons what it asks for");
                break;
            }
            // As long as a head may take; and in the end, as long as a closed connection may take to notice.
            () = conduct.quiet(if ending { LINGER } else { rules.header_timeout }) => if ending { break },
            ended = &mut served => {
                if let Err(error) = ended {
                    debug!(peer = %peer.address, %error, "connection ended early");
                }
                break;
            }
        }
        ending = true;
        served.as_mut().graceful_shutdown();
    }
    drop(served);
    wire.into_end(false)
}

/// The answer to one request.
async fn answer<H: Handler>(
    request: Request<Incoming>,
    handler: Arc<H>,
    place: Option<Place>,
    mut open: Open,
) -> Result<http::Response<Answer>, Infallible> {
    let reply = match (&place, screen(&request)) {
        (None, _) => {
            handler.turned_away();
            problem(&too_many())
        }
        (Some(_), Err(code)) => problem(&code.into()),
        (Some(_), Ok(())) => handler.handle(request.map(RequestBody::from)).await,
    };
    open.answered();
    Ok(reply.map(|body| Answer::new(body, (place, open))))
}

fn problem(problem: &Problem) -> Reply {
    problem.to_reply(&new_id())
}

/// What `http::screen` asks of a head in HTTP/1, as far as hyper does not: as many fields, and one host.
fn screen(request: &Request<Incoming>) -> Result<(), Code> {
    if request.headers().len() > MAX_FIELDS {
        return Err(Code::HeaderTooLarge);
    }
    let mut hosts = request.headers().get_all(HOST).iter();
    let authority = request.uri().authority().map(|authority| authority.as_str().as_bytes());
    match (authority, hosts.next(), hosts.next()) {
        (Some(_), None, _) | (None, Some(_), None) => Ok(()),
        (Some(authority), Some(host), None) if host.as_bytes() == authority => Ok(()),
        _ => Err(Code::BadHost),
    }
}
