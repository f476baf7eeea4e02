//! The bytes of one connection on their way to hyper and back: screened on the way in, with a deadline on the way out.
//!
//! A body whose length was told is read beside hyper, straight from the connection, in pieces as large as they come. hyper would read it
//! ahead into a buffer that each connection keeps, and hand it over frame by frame. It is told instead that the request has none: the
//! digits of its `Content-Length` are zeros by the time that hyper sees them. Then hyper reads no further until that body was read.

mod beside;

use std::{
    cell::RefCell,
    io,
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use bytes::BytesMut;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep_until},
};

use self::beside::BodyBeside;
use super::{
    Code,
    answers::Answers,
    buffers::{Appetite, Place},
    screen::{Announced, Broken, Screen},
};

/// How much of a body is lent at once, in bytes: all that the kernel keeps of it. A thousand streams of 1 MiB are a quarter faster than with
/// 64 KiB.
const LENT: usize = 512 << 10;

thread_local! {
    /// Where a thread reads to what need not be kept: heads with what follows them, bodies that are lent, and what nobody wants.
    static DESK: RefCell<Vec<u8>> = RefCell::new(vec![0; LENT]);
}

/// A connection's stream: hyper's, and that of whoever reads a body beside it.
#[derive(Clone, Debug)]
pub(super) struct Wire(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    /// Until the connection ends.
    stream: Option<TcpStream>,
    screen: Screen,
    answers: Answers,
    appetite: Appetite,
    refused: Option<Code>,
    stall_timeout: Duration,
    /// Runs while the client takes nothing of an answer.
    stalled: Option<Pin<Box<Sleep>>>,
    /// Who would read on, were it not for an answer that is still being written.
    reader: Option<Waker>,
    /// What came behind a head: of its body, and of what follows that.
    held: BytesMut,
    body: BodyBeside,
}

/// How a connection ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    /// All was said.
    Said,
    /// Between two requests: nobody waits for anything.
    Idle,
    /// hyper reads no further, and a last word is owed.
    Owing(Code),
    /// The client took nothing of an answer for too long.
    Stalled,
}

impl Wire {
    pub(super) fn new(stream: TcpStream, answers: Answers, place: Place, stall_timeout: Duration) -> Self {
        Self::with(Screen::new(), stream, answers, place, stall_timeout)
    }

    /// For what is not HTTP/1.
    pub(super) fn unscreened(stream: TcpStream, place: Place, stall_timeout: Duration) -> Self {
        Self::with(Screen::open(), stream, Answers::default(), place, stall_timeout)
    }

    fn with(
        screen: Screen,
        stream: TcpStream,
        answers: Answers,
        place: Place,
        stall_timeout: Duration,
    ) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            stream: Some(stream),
            screen,
            answers,
            appetite: Appetite::new(place),
            refused: None,
            stall_timeout,
            stalled: None,
            reader: None,
            held: BytesMut::new(),
            body: BodyBeside::default(),
        })))
    }

    /// The stream, once hyper is done with it, and what is to be done with it; `slow` says that hyper waited in vain for a head.
    pub(super) fn into_end(self, slow: bool) -> Option<(TcpStream, End)> {
        self.lock().end(slow)
    }

    /// Ends the connection when dropped: whoever reads a body gets no more than has come when the connection's task breaks down.
    pub(super) fn end_at_last(&self) -> EndAtLast {
        EndAtLast(self.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See [`Wire::end_at_last`].
pub(super) struct EndAtLast(Wire);

impl Drop for EndAtLast {
    fn drop(&mut self) {
        drop(self.0.lock().end(false));
    }
}

impl Inner {
    fn end(&mut self, slow: bool) -> Option<(TcpStream, End)> {
        let too_slow = (slow && self.screen.within_head()).then_some(Code::TooSlow);
        let end = match self.refused.or(too_slow) {
            _ if self.stalled.is_some() => End::Stalled,
            Some(code) => End::Owing(code),
            None if self.screen.is_idle() && self.body.left == 0 && self.held.is_empty() => End::Idle,
            None => End::Said,
        };
        if let Some(reader) = self.body.reader.take() {
            reader.wake();
        }
        Some((self.stream.take()?, end))
    }

    /// Reads no further. hyper gives up answers that it has not written yet when a read fails, so a head is refused when no answer
    /// is owed any more (hyper asks again when it was handed the last one, because it waits for the next head then), and none of it
    /// is left in hyper's buffer.
    fn refuse<T>(&mut self, context: &Context<'_>, broken: Broken) -> Poll<io::Result<T>> {
        let text = match broken {
            Broken::Head(_) if self.answers.are_owed() => return Poll::Pending,
            Broken::Head(_) if self.stalled.is_some() => {
                self.reader = Some(context.waker().clone());
                return Poll::Pending;
            }
            Broken::Head(code) => {
                self.refused = Some(code);
                code.as_str()
            }
            Broken::Body => "a chunk of the body cannot be read",
        };
        Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, text)))
    }

    /// Gives up on a client that takes nothing for too long.
    fn deadline<T>(
        &mut self,
        context: &mut Context<'_>,
        progress: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if progress.is_ready() {
            self.stalled = None;
            for reader in [self.reader.take(), self.body.reader.take()].into_iter().flatten() {
                reader.wake();
            }
            return progress;
        }
        let until = Instant::now() + self.stall_timeout;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep_until(until)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing of the answer")))
    }

    /// Reads for hyper.
    fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.body.left > 0 {
            self.body.hyper = Some(context.waker().clone());
            return self.watch(context);
        }
        if let Some(broken) = self.screen.broken() {
            return self.refuse(context, broken);
        }
        let before = buffer.filled().len();
        if !self.held.is_empty() {
            let held = std::mem::take(&mut self.held);
            let through = self.pass(&held, buffer);
            self.held = held;
            self.let_go(through);
        } else if self.screen.is_at_head() {
            ready!(self.read_head(context, buffer))?;
        } else {
            ready!(self.read_on(context, buffer))?;
        }
        match self.screen.broken() {
            Some(broken) if buffer.filled().len() == before => self.refuse(context, broken),
            _ => Poll::Ready(Ok(())),
        }
    }

    /// While a body that has come as a whole waits to be read, a client may go away: nobody else would see that. (Nor is it seen here, until
    /// the body was read, where more came behind it.)
    fn watch(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if (self.held.len() as u64) < self.body.left {
            return Poll::Pending;
        }
        let mut byte = [0];
        match ready!(stream(&mut self.stream)?.poll_peek(context, &mut ReadBuf::new(&mut byte)))? {
            0 => Poll::Ready(Ok(())),
            _ => Poll::Pending,
        }
    }

    /// Reads where a head is to come; what comes behind it is held.
    fn read_head(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        DESK.with_borrow_mut(|desk| {
            let mut came = ReadBuf::new(desk.get_mut(..self.appetite.with_head()).unwrap_or_default());
            ready!(Pin::new(stream(&mut self.stream)?).poll_read(context, &mut came))?;
            let came = came.filled();
            let through = self.pass(came, buffer);
            self.held.extend_from_slice(came.get(through..).unwrap_or_default());
            Poll::Ready(Ok(()))
        })
    }

    /// Reads into hyper's buffer.
    fn read_on(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let most = self.appetite.next().min(buffer.remaining());
        let Poll::Ready(read) = pin!(stream(&mut self.stream)?.take(most as u64)).poll_read(context, buffer)
        else {
            self.appetite.starved();
            return Poll::Pending;
        };
        read?;
        let came = buffer.filled_mut().get_mut(before..).unwrap_or_default();
        self.appetite.took(came.len(), most);
        let (through, body) = self.screen.take(came, !self.answers.are_owed());
        if let Some(body) = body {
            self.held.extend_from_slice(came.get(through..).unwrap_or_default());
            self.read_beside(&body, came);
        }
        buffer.set_filled(before + through);
        Poll::Ready(Ok(()))
    }

    /// Lets bytes through to hyper, as far as they go; says how many.
    fn pass(&mut self, came: &[u8], buffer: &mut ReadBuf<'_>) -> usize {
        let before = buffer.filled().len();
        let came = came.get(..buffer.remaining()).unwrap_or(came);
        let (through, body) = self.screen.take(came, !self.answers.are_owed());
        buffer.put_slice(came.get(..through).unwrap_or_default());
        if let Some(body) = body {
            self.read_beside(&body, buffer.filled_mut().get_mut(before..).unwrap_or_default());
        }
        through
    }

    /// hyper is told that there is no body, and it begins beside it.
    fn read_beside(&mut self, body: &Announced, passed: &mut [u8]) {
        passed.get_mut(body.said_at.clone()).unwrap_or_default().fill(b'0');
        self.body.begin(body);
    }
}

/// A connection's stream, if it has not ended.
fn stream(stream: &mut Option<TcpStream>) -> io::Result<&mut TcpStream> {
    stream.as_mut().ok_or_else(|| io::ErrorKind::NotConnected.into())
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.lock().poll_read(context, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut inner = self.lock();
        let progress = Pin::new(stream(&mut inner.stream)?).poll_write(context, bytes);
        inner.deadline(context, progress)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut inner = self.lock();
        let progress = Pin::new(stream(&mut inner.stream)?).poll_write_vectored(context, slices);
        inner.deadline(context, progress)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// A TCP stream has nothing to flush.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// hyper has written everything when it asks for this. The stream stays open, for the last word.
    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(context)
    }
}
