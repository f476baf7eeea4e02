//! The bytes of one connection on their way to hyper and back: screened on the way in, with a deadline on the way out.

use std::{
    io,
    pin::{Pin, pin},
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep_until},
};

use super::{
    Code,
    answers::Answers,
    buffers::{Appetite, Place},
    screen::{Broken, Screen},
};

/// A connection's stream.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    screen: Screen,
    answers: Answers,
    appetite: Appetite,
    refused: Option<Code>,
    stall_timeout: Duration,
    /// Runs while the client takes nothing of an answer.
    stalled: Option<Pin<Box<Sleep>>>,
    /// Who would read on, were it not for an answer that is still being written.
    reader: Option<Waker>,
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
        let appetite = Appetite::new(place);
        Self { stream, screen, answers, appetite, refused: None, stall_timeout, stalled: None, reader: None }
    }

    /// The stream, once hyper is done with it, and what is to be done with it; `slow` says that hyper waited in vain for a head.
    pub(super) fn into_end(self, slow: bool) -> (TcpStream, End) {
        let too_slow = (slow && self.screen.within_head()).then_some(Code::TooSlow);
        let end = match self.refused.or(too_slow) {
            _ if self.stalled.is_some() => End::Stalled,
            Some(code) => End::Owing(code),
            None if self.screen.is_idle() => End::Idle,
            None => End::Said,
        };
        (self.stream, end)
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
            if let Some(reader) = self.reader.take() {
                reader.wake();
            }
            return progress;
        }
        let until = Instant::now() + self.stall_timeout;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep_until(until)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing of the answer")))
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(broken) = self.screen.broken() {
            return self.refuse(context, broken);
        }
        let before = buffer.filled().len();
        let most = self.appetite.next().min(buffer.remaining());
        let Poll::Ready(read) = pin!((&mut self.stream).take(most as u64)).poll_read(context, buffer) else {
            self.appetite.starved();
            return Poll::Pending;
        };
        read?;
        let came = buffer.filled().get(before..).unwrap_or_default();
        self.appetite.took(came.len(), most);
        let through = self.screen.take(came);
        buffer.set_filled(before + through);
        match self.screen.broken() {
            Some(broken) if through == 0 => self.refuse(context, broken),
            _ => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let progress = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.deadline(context, progress)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let progress = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.deadline(context, progress)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    /// hyper has written everything when it asks for this. The stream stays open, for the last word.
    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(context)
    }
}
