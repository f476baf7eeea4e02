//! One connection, with one request on it at a time.

use std::{
    fmt,
    future::poll_fn,
    io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf as _, Bytes};
use futures_util::FutureExt as _;
use http::{Response, StatusCode, Uri, header::HOST, request::Parts, uri::Scheme};
use hyper_rustls::MaybeHttpsStream;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead as _, AsyncWrite as _, AsyncWriteExt as _, ReadBuf},
    task::unconstrained,
    time::{Sleep, sleep, timeout},
};

use super::{
    super::{super::pipe::Pipe, wire::Wire},
    answer::{self, Answer, MOST},
    is_closed,
};

/// Who says nothing to `Expect: 100-continue` for so long is sent the body: some do not know it.
const SILENCE: Duration = Duration::from_secs(1);

/// A connection to a store.
pub(super) struct Line {
    /// Where it leads: scheme and authority.
    to: String,
    io: Box<TokioIo<MaybeHttpsStream<Wire>>>,
    /// What has come of an answer.
    came: Vec<u8>,
    ended: bool,
}

impl Line {
    pub(super) fn new(to: String, stream: MaybeHttpsStream<Wire>) -> Self {
        Self { to, io: Box::new(TokioIo::new(stream)), came: Vec::new(), ended: false }
    }

    pub(super) fn is_to(&self, to: &str) -> bool {
        self.to == to
    }

    /// Whether nothing came while nothing was asked: else it was closed, or is out of step.
    pub(super) fn is_quiet(&mut self) -> bool {
        unconstrained(poll_fn(|context| self.poll_more(context))).now_or_never().is_none()
    }

    /// Sends a request with what passes through `pipe` as its body; with the answer, whether the connection can take another. The words of
    /// a refusal have no longer than `words`.
    pub(super) async fn send(
        &mut self,
        head: &Parts,
        pipe: &Pipe,
        words: Duration,
    ) -> io::Result<(Response<Bytes>, bool)> {
        let sent = self.send_out(head, pipe).await;
        let is_sent = matches!(sent, Ok(None));
        let answer = match sent {
            Ok(Some(answer)) => answer,
            Ok(None) => self.next_answer().await?,
            // Who refuses a body may close at once.
            Err(error) if is_closed(&error) => match timeout(words, self.next_answer()).await {
                Ok(Ok(answer)) => answer,
                _ => return Err(error),
            },
            Err(error) => return Err(error),
        };
        let is_success = answer.response.status().is_success();
        if is_success && !is_sent && pipe.is_drained() {
            return Err(io::Error::other("the store answered before the body had ended"));
        }
        let words = if is_success { Duration::ZERO } else { words };
        let answer = self.rest_of(answer, words).await;
        Ok((answer.response, is_sent && answer.whole && answer.keeps))
    }

    /// Sends it; an answer that came before all of it was written.
    async fn send_out(&mut self, head: &Parts, pipe: &Pipe) -> io::Result<Option<Answer>> {
        self.io.write_all(&written(head)).await?;
        self.io.flush().await?;
        let silence = Some(Box::pin(sleep(SILENCE)));
        let mut sending = Sending { line: self, pipe, left: pipe.length(), frame: Bytes::new(), silence };
        poll_fn(|context| sending.poll(context)).await
    }

    async fn next_answer(&mut self) -> io::Result<Answer> {
        poll_fn(|context| self.poll_answer(context, &mut |_| {})).await
    }

    /// An answer with its body, or as much of it as comes in time.
    async fn rest_of(&mut self, mut answer: Answer, limit: Duration) -> Answer {
        let reading = async {
            while !answer.whole && !self.ended && self.came.len() < MOST {
                poll_fn(|context| self.poll_more(context)).await?;
                if let Some(more) = answer::read(&self.came, self.ended)? {
                    answer = more;
                }
            }
            Ok::<_, io::Error>(())
        };
        // The head of an answer counts, whatever becomes of the words behind it.
        if !matches!(timeout(limit, reading).await, Ok(Ok(()))) {
            answer.whole = false;
        }
        answer.keeps &= answer.length == self.came.len();
        self.came = Vec::new();
        answer
    }

    /// The next answer that is the last one; `interim` is told of those before it.
    fn poll_answer(
        &mut self,
        context: &mut Context<'_>,
        interim: &mut dyn FnMut(StatusCode),
    ) -> Poll<io::Result<Answer>> {
        loop {
            while !self.came.is_empty() {
                match answer::read(&self.came, self.ended)? {
                    None => break,
                    Some(answer) if answer.response.status().is_informational() => {
                        self.came.drain(..answer.length);
                        interim(answer.response.status());
                    }
                    Some(answer) => return Poll::Ready(Ok(answer)),
                }
            }
            if self.ended {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            ready!(self.poll_more(context))?;
        }
    }

    /// Reads more of an answer, or that there is no more.
    fn poll_more(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut room = [MaybeUninit::uninit(); 2048];
        let mut read = ReadBuf::uninit(&mut room);
        ready!(Pin::new(&mut *self.io).poll_read(context, &mut read))?;
        self.ended = read.filled().is_empty();
        self.came.extend_from_slice(read.filled());
        Poll::Ready(Ok(()))
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").field("to", &self.to).finish_non_exhaustive()
    }
}

/// A body on its way out.
struct Sending<'a> {
    line: &'a mut Line,
    pipe: &'a Pipe,
    /// How much the pipe has still to give.
    left: u64,
    /// What is being written.
    frame: Bytes,
    /// Runs while the store has not said whether it wants the body.
    silence: Option<Pin<Box<Sleep>>>,
}

impl Sending<'_> {
    /// Ready when all is written, or with an answer that came before that.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<Answer>>> {
        let pipe = self.pipe;
        let wanted = &mut |status| {
            if status == StatusCode::CONTINUE {
                pipe.open();
            }
        };
        if let Poll::Ready(answer) = self.line.poll_answer(context, wanted) {
            return Poll::Ready(answer.map(Some));
        }
        if let Some(silence) = &mut self.silence
            && silence.as_mut().poll(context).is_ready()
        {
            self.silence = None;
            pipe.open();
        }
        loop {
            if self.frame.is_empty() {
                // Not before: who waits for it to be written is told when it is dropped.
                self.frame = Bytes::new();
                let flushed = Pin::new(&mut *self.line.io).poll_flush(context)?;
                if self.left == 0 {
                    return flushed.map(|()| Ok(None));
                }
                let frame = ready!(pipe.poll_take(context)).map_err(io::Error::other)?;
                self.silence = None;
                let left = self.left.checked_sub(frame.len() as u64);
                self.left = left.ok_or_else(|| io::Error::other("a body longer than announced"))?;
                self.frame = frame;
            }
            match ready!(Pin::new(&mut *self.line.io).poll_write(context, &self.frame))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.frame.advance(written),
            }
        }
    }
}

/// A request's head as it is sent.
fn written(head: &Parts) -> Vec<u8> {
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    let mut text = [head.method.as_str(), " ", target, " HTTP/1.1\r\n"].concat().into_bytes();
    let host = (!head.headers.contains_key(HOST)).then(|| host(&head.uri));
    let fields = head.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    for (name, value) in fields.chain(host.iter().map(|host| ("host", host.as_bytes()))) {
        for piece in [name.as_bytes(), b": ", value, b"\r\n"] {
            text.extend_from_slice(piece);
        }
    }
    text.extend_from_slice(b"\r\n");
    text
}

/// The host as requests are signed for it: with its port, unless that is the scheme's own.
fn host(uri: &Uri) -> String {
    let name = uri.host().unwrap_or_default();
    match uri.port_u16() {
        Some(80) if uri.scheme() == Some(&Scheme::HTTP) => name.to_owned(),
        Some(443) if uri.scheme() == Some(&Scheme::HTTPS) => name.to_owned(),
        Some(port) => format!("{name}:{port}"),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_the_one_that_was_signed() {
        for (uri, wanted) in [
            ("http://a.example:80/k", "a.example"),
            ("https://a.example:443/k", "a.example"),
            ("https://a.example:80/k", "a.example:80"),
            ("http://[::1]:9000/k", "[::1]:9000"),
            ("http://who@a.example/k", "a.example"),
        ] {
            assert_eq!(host(&uri.parse().unwrap()), wanted, "{uri}");
        }
    }
}
