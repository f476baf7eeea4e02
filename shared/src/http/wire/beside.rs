//! The body of a request, read beside hyper.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio_util::io::poll_read_buf;

use super::{DESK, Inner, LENT, Wire, stream};
use crate::http::screen::Announced;

/// How much that nobody wants is read at once, in bytes.
const PASSED_OVER: usize = 16 << 10;

/// A body that is read beside hyper.
#[derive(Debug, Default)]
pub(super) struct BodyBeside {
    /// How many bytes of it were not read yet; 0 when there is none.
    pub(super) left: u64,
    /// How many of them are wanted at once.
    wanted: usize,
    /// What is left to be said to a client that waits before it sends them.
    go_on: &'static [u8],
    /// Who reads it.
    pub(super) reader: Option<Waker>,
    /// hyper, who would read on.
    pub(super) hyper: Option<Waker>,
}

impl BodyBeside {
    pub(super) fn begin(&mut self, announced: &Announced) {
        let go_on: &[u8] = if announced.is_waited_for { b"HTTP/1.1 100 Continue\r\n\r\n" } else { b"" };
        *self = Self { left: announced.length, wanted: usize::MAX, go_on, ..Self::default() };
    }

    /// How much of it may be read now.
    fn most(&self) -> usize {
        usize::try_from(self.left).map_or(self.wanted, |left| left.min(self.wanted))
    }

    /// Its reader is to be woken.
    fn wait(&mut self, context: &Context<'_>) {
        if !self.reader.as_ref().is_some_and(|reader| reader.will_wake(context.waker())) {
            self.reader = Some(context.waker().clone());
        }
    }
}

impl Wire {
    /// How many bytes of a request's body are to be read here: not 0 when its head was the last to go through.
    pub(in crate::http) fn body_left(&self) -> u64 {
        self.lock().body.left
    }

    /// No more than `most` bytes of the body are wanted at once, and at least one.
    pub(in crate::http) fn want(&self, most: usize) {
        self.lock().body.wanted = most.max(1);
    }

    /// The next piece of the body that is read here; empty at its end.
    pub(in crate::http) fn poll_body(&self, context: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        self.lock().poll_body(context)
    }

    /// Lends the next piece to `take`; says how long it is, 0 at the end.
    pub(in crate::http) fn poll_lend(
        &self,
        context: &mut Context<'_>,
        take: &mut dyn FnMut(&[u8]),
    ) -> Poll<io::Result<usize>> {
        self.lock().poll_lend(context, take)
    }

    /// Whether more of a body is to come that nobody wants any more. What has come is passed over.
    pub(in crate::http) fn is_body_unread(&self) -> bool {
        self.lock().pass_over() > 0
    }
}

impl Inner {
    fn poll_body(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let most = self.body.most();
        let piece = if most == 0 {
            Bytes::new()
        } else if self.held.is_empty() {
            ready!(self.say_go_on(context))?;
            ready!(self.read_body(context, most))?
        } else if self.held.len() <= most {
            std::mem::take(&mut self.held).freeze()
        } else {
            self.held.split_to(most).freeze()
        };
        self.came(context, piece.len())?;
        Poll::Ready(Ok(piece))
    }

    fn poll_lend(
        &mut self,
        context: &mut Context<'_>,
        take: &mut dyn FnMut(&[u8]),
    ) -> Poll<io::Result<usize>> {
        let most = self.body.most();
        let lent = if most == 0 {
            0
        } else if self.held.is_empty() {
            ready!(self.say_go_on(context))?;
            ready!(self.lend(context, most.min(LENT), take))?
        } else {
            let lent = most.min(self.held.len());
            take(self.held.get(..lent).unwrap_or_default());
            self.let_go(lent);
            lent
        };
        self.came(context, lent)?;
        Poll::Ready(Ok(lent))
    }

    /// Holds so many bytes less.
    pub(super) fn let_go(&mut self, bytes: usize) {
        self.held.advance(bytes);
        if self.held.is_empty() {
            self.held = BytesMut::new();
        }
    }

    /// So many bytes of the body came; none before its end says that the client is gone.
    fn came(&mut self, context: &mut Context<'_>, bytes: usize) -> io::Result<()> {
        if self.body.left == 0 {
            return Ok(());
        }
        if bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // A client that sends waits for no word.
        self.body.go_on = b"";
        self.body.left -= bytes as u64;
        if self.body.left == 0 {
            self.let_hyper_read(context);
        }
        Ok(())
    }

    fn lend(
        &mut self,
        context: &mut Context<'_>,
        most: usize,
        take: &mut dyn FnMut(&[u8]),
    ) -> Poll<io::Result<usize>> {
        DESK.with_borrow_mut(|desk| {
            let mut came = ReadBuf::new(desk.get_mut(..most).unwrap_or_default());
            let stream = Pin::new(stream(&mut self.stream)?);
            let Poll::Ready(read) = stream.poll_read(context, &mut came) else {
                self.body.wait(context);
                return Poll::Pending;
            };
            read?;
            take(came.filled());
            Poll::Ready(Ok(came.filled().len()))
        })
    }

    fn read_body(&mut self, context: &mut Context<'_>, most: usize) -> Poll<io::Result<Bytes>> {
        let stream = stream(&mut self.stream)?;
        let hungry_for = self.appetite.next() + 1;
        let size = most.min(hungry_for);
        let mut piece = BytesMut::with_capacity(size);
        match poll_read_buf(Pin::new(stream), context, &mut (&mut piece).limit(size)) {
            Poll::Pending => {
                self.appetite.starved();
                self.body.wait(context);
                Poll::Pending
            }
            Poll::Ready(read) => {
                read?;
                if size == hungry_for {
                    self.appetite.took(piece.len(), size);
                }
                // What is held back for longer is to keep no more than it takes.
                let loose = piece.len() < size / 4 * 3;
                Poll::Ready(Ok(if loose { Bytes::copy_from_slice(&piece) } else { piece.freeze() }))
            }
        }
    }

    /// Tells a client that waits for it to send its body; not in the middle of an answer that it takes slowly.
    fn say_go_on(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.body.go_on.is_empty() {
            let said = if self.stalled.is_some() {
                Poll::Pending
            } else {
                Pin::new(stream(&mut self.stream)?).poll_write(context, self.body.go_on)
            };
            let Poll::Ready(said) = said else {
                self.body.wait(context);
                return Poll::Pending;
            };
            self.body.go_on = self.body.go_on.get(said?..).unwrap_or_default();
        }
        Poll::Ready(Ok(()))
    }

    /// The body was read: hyper, who was told to wait, is to hear of what comes next. It does so by itself where it is woken with who reads
    /// the body, which spares each upload a turn.
    fn let_hyper_read(&mut self, context: &mut Context<'_>) {
        self.body.reader = None;
        let Some(hyper) = self.body.hyper.take() else { return };
        let hears = self.held.is_empty()
            && hyper.will_wake(context.waker())
            && self.stream.as_ref().is_some_and(|stream| stream.poll_read_ready(context).is_pending());
        if !hears {
            hyper.wake();
        }
    }

    fn pass_over(&mut self) -> u64 {
        let of_held = usize::try_from(self.body.left).unwrap_or(usize::MAX).min(self.held.len());
        self.let_go(of_held);
        self.body.left -= of_held as u64;
        if self.body.left > 0
            && let Some(stream) = &self.stream
        {
            let most = usize::try_from(self.body.left).unwrap_or(usize::MAX).min(PASSED_OVER);
            let came = DESK.with_borrow_mut(|desk| stream.try_read(desk.get_mut(..most).unwrap_or_default()));
            self.body.left -= came.unwrap_or(0) as u64;
        }
        if self.body.left == 0
            && let Some(hyper) = self.body.hyper.take()
        {
            hyper.wake();
        }
        self.body.left
    }
}
