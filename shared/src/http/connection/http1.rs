//! A connection that speaks HTTP/1: one request after the other.

use std::{convert::Infallible, sync::Arc};

use http::{HeaderValue, header::CONNECTION};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpStream, time::Instant};
use tracing::debug;

use super::{
    super::{
        RequestBody,
        answers::Answers,
        buffers::Place,
        server::{Handler, Listener},
        wire::{End, Wire},
    },
    Peer,
};

/// Answers its requests until it ends; the stream, and what is to be done with it.
pub(super) async fn serve<H: Handler>(
    stream: TcpStream,
    peer: &Peer,
    place: &Place,
    listener: &Arc<Listener<H>>,
) -> Option<(TcpStream, End)> {
    let answers = Answers::default();
    let wire = Wire::new(stream, answers.clone(), place.clone(), listener.rules.stall_timeout);
    let (handler, old_from) = (Arc::clone(&listener.handler), peer.old_from);
    let (own, _broken_down) = (wire.clone(), wire.end_at_last());
    let service = service_fn(move |request| {
        let (handler, wire, owed) = (Arc::clone(&handler), own.clone(), answers.owe());
        Box::pin(async move {
            let answer = handler.handle(RequestBody::of(request, &wire)).await;
            let mut answer = answer.map(|body| owed.until_written(body));
            if Instant::now() >= old_from || wire.is_body_unread() {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(answer)
        })
    });
    let mut served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(listener.rules.header_timeout)
        .max_buf_size(place.bound())
        .max_headers(128)
        .serve_connection(TokioIo::new(wire.clone()), service);
    let ended = tokio::select! {
        // Who stops has said so before what is answered now.
        biased;
        () = listener.stop.cancelled() => {
            std::pin::Pin::new(&mut served).graceful_shutdown();
            (&mut served).await
        }
        ended = &mut served => ended,
    };
    if let Err(error) = &ended {
        debug!(peer = %peer.address, %error, "connection ended early");
    }
    let slow = ended.is_err_and(|error| error.is_timeout());
    drop(served);
    wire.into_end(slow)
}
