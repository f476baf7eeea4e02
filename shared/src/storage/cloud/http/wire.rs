//! A TCP connection that does not wait for ever: who takes no byte of what is written is given up.
//!
//! hyper writes out what it has gathered before it closes, also when nobody wants the answer any more. With a store that has stopped
//! reading that would never end, and each upload that was given up would keep its buffers, here and in the kernel.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::{
    client::legacy::connect::{Connected, Connection, HttpConnector},
    rt::TokioIo,
};
use tokio::net::TcpStream;
use tower_service::Service;

use super::watchdog::Watchdog;

/// Makes such connections.
#[derive(Clone, Debug)]
pub(super) struct Wires {
    pub(super) tcp: HttpConnector,
    pub(super) stall: Duration,
}

impl Service<Uri> for Wires {
    type Response = Wire;
    type Error = <HttpConnector as Service<Uri>>::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Wire, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.tcp.poll_ready(context)
    }

    fn call(&mut self, address: Uri) -> Self::Future {
        let (connecting, stall) = (self.tcp.call(address), self.stall);
        Box::pin(async move { Ok(Wire::new(connecting.await?.into_inner(), stall)) })
    }
}

/// A connection to a store.
#[derive(Debug)]
pub(super) struct Wire {
    io: TokioIo<TcpStream>,
    /// Watches while something is to be written and cannot be.
    unwritten: Watchdog,
    /// Whether something was written that the store has said nothing to yet.
    unanswered: bool,
}

impl Wire {
    pub(super) fn new(stream: TcpStream, stall: Duration) -> Self {
        Self { io: TokioIo::new(stream), unwritten: Watchdog::new(stall), unanswered: false }
    }

    fn watch<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.unwritten.rest();
            return written;
        }
        ready!(self.unwritten.poll_late(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the store took no bytes")))
    }
}

impl Drop for Wire {
    /// What was broken off is reset: the kernel too is to forget what the store has not read, and the store is to know at once.
    fn drop(&mut self) {
        if self.unanswered {
            // Where that fails, there is no connection any more.
            drop(self.io.inner().set_zero_linger());
        }
    }
}

impl Write for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.unanswered = true;
        let written = Pin::new(&mut self.io).poll_write(context, bytes);
        self.watch(context, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(context);
        self.watch(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.io).poll_shutdown(context);
        self.watch(context, shut)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.unanswered = true;
        let written = Pin::new(&mut self.io).poll_write_vectored(context, slices);
        self.watch(context, written)
    }
}

impl Read for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.io).poll_read(context, buffer);
        self.unanswered &= read.is_pending();
        read
    }
}

impl Connection for Wire {
    fn connected(&self) -> Connected {
        self.io.connected()
    }
}
