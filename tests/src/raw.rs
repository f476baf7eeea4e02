//! A client that sends what it is told, right or wrong, byte by byte.

use std::{io, net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::{Answer, DEADLINE};

/// The largest answer that a test reads this way.
const MAX_ANSWER: usize = 16 << 20;

/// The head of an upload to this path, with these fields behind its `Host`.
pub fn put(path: &str, fields: &[&str]) -> String {
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    format!("PUT /v1/files/{path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
}

/// One connection.
#[derive(Debug)]
pub struct Raw {
    stream: TcpStream,
    /// Read, and not yet part of an answer.
    seen: Vec<u8>,
    interim: Vec<u16>,
}

impl Raw {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens.
    pub async fn connect(address: SocketAddr) -> Result<Self> {
        let stream = timeout(DEADLINE, TcpStream::connect(address)).await.context("connect in time")??;
        stream.set_nodelay(true)?;
        Ok(Self { stream, seen: Vec::new(), interim: Vec::new() })
    }

    /// Connects, sends, reads one answer.
    ///
    /// # Errors
    /// When there is none.
    pub async fn ask(address: SocketAddr, bytes: impl AsRef<[u8]>) -> Result<Answer> {
        let mut raw = Self::connect(address).await?;
        raw.send(bytes).await?;
        raw.answer().await
    }

    /// Sends all of it. A server that has heard enough may close the connection meanwhile: that is for the answer to tell.
    ///
    /// # Errors
    /// When the server takes nothing for too long.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> Result<()> {
        match timeout(DEADLINE, self.stream.write_all(bytes.as_ref())).await.context("send in time")? {
            Err(error) if !hung_up(&error) => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Sends a piece again and again until there is an answer, which is handed out.
    ///
    /// # Errors
    /// When there is none in time.
    pub async fn trickle(&mut self, piece: &[u8], every: Duration, within: Duration) -> Result<Answer> {
        let (mut reader, mut writer) = self.stream.split();
        let mut first = vec![0; 64 << 10];
        let send = async {
            let mut ticks = tokio::time::interval(every);
            loop {
                ticks.tick().await;
                if writer.write_all(piece).await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        let read = tokio::select! {
            read = timeout(within, reader.read(&mut first)) => read.context("an answer in time")??,
            () = send => 0,
        };
        self.seen.extend_from_slice(first.get(..read).unwrap_or_default());
        self.answer().await
    }

    /// Sends a piece again and again until nobody has taken a byte for so long, or it was `most` bytes; says how many were taken.
    ///
    /// # Errors
    /// When the connection ends.
    pub async fn pour(&mut self, piece: &[u8], most: usize, patience: Duration) -> Result<usize> {
        let mut taken = 0;
        while taken < most {
            let next = piece.get(..piece.len().min(most - taken)).unwrap_or_default();
            match timeout(patience, self.stream.write(next)).await {
                Ok(written) => taken += written?,
                Err(_) => break,
            }
        }
        Ok(taken)
    }

    /// Says that nothing more will come.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn half_close(&mut self) -> Result<()> {
        match self.stream.shutdown().await {
            Err(error) if !hung_up(&error) => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Ends the connection as a crash does: what is on its way is lost, and the server gets a reset.
    ///
    /// # Errors
    /// When the socket cannot be told.
    pub fn reset(self) -> Result<()> {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO))?;
        Ok(())
    }

    /// Waits for the end of the connection; says what came before it.
    ///
    /// # Errors
    /// When it does not end in time.
    pub async fn closed(&mut self, within: Duration) -> Result<Vec<u8>> {
        timeout(within, async {
            while self.read().await? > 0 {}
            anyhow::Ok(std::mem::take(&mut self.seen))
        })
        .await
        .with_context(|| format!("the connection is still open after {within:?}"))?
    }

    /// Waits until the body is asked for with 100; `None` when it is, else the answer that came instead.
    ///
    /// # Errors
    /// When neither comes in time.
    pub async fn wanted(&mut self) -> Result<Option<Answer>> {
        timeout(DEADLINE, async {
            loop {
                if self.head()?.is_some() {
                    return self.answer().await.map(Some);
                }
                if self.interim.contains(&100) {
                    return Ok(None);
                }
                ensure!(self.read().await? > 0, "the connection ended without an answer");
            }
        })
        .await
        .context("100 or an answer in time")?
    }

    /// Reads the next answer.
    ///
    /// # Errors
    /// When none comes in time, or the connection ends within it.
    pub async fn answer(&mut self) -> Result<Answer> {
        self.answer_to("PUT").await
    }

    /// Reads the answer to a request of this method: one to `HEAD` has no body.
    ///
    /// # Errors
    /// When none comes in time, or the connection ends within it.
    pub async fn answer_to(&mut self, method: &str) -> Result<Answer> {
        let read = async {
            let (mut answer, head) = loop {
                match self.head()? {
                    Some(found) => break found,
                    None if self.read().await? == 0 => {
                        bail!("the connection ended without an answer, after {:?}", text(&self.seen));
                    }
                    None => {}
                }
            };
            let length = match answer.header("content-length") {
                _ if method == "HEAD" || matches!(answer.status, 204 | 304) => 0,
                "" => bail!("an answer without a length: {answer:?}"),
                length => length.parse::<usize>()?,
            };
            ensure!(length <= MAX_ANSWER, "an answer of {length} bytes");
            while self.seen.len() < head + length {
                ensure!(self.read().await? > 0, "the connection ended within {answer:?}");
            }
            answer.body = Bytes::copy_from_slice(self.seen.get(head..head + length).unwrap_or_default());
            self.seen.drain(..head + length);
            self.interim.clear();
            Ok(answer)
        };
        timeout(DEADLINE, read).await.context("an answer in time")?
    }

    /// The next final head, and its length; interim ones are noted and passed over.
    fn head(&mut self) -> Result<Option<(Answer, usize)>> {
        loop {
            let mut fields = [httparse::EMPTY_HEADER; 64];
            let mut response = httparse::Response::new(&mut fields);
            let parsed =
                response.parse(&self.seen).with_context(|| format!("no HTTP: {:?}", text(&self.seen)))?;
            let (httparse::Status::Complete(length), Some(status)) = (parsed, response.code) else {
                return Ok(None);
            };
            if status < 200 {
                self.interim.push(status);
                self.seen.drain(..length);
                continue;
            }
            let mut headers = HeaderMap::new();
            for field in response.headers.iter() {
                headers.append(
                    HeaderName::from_bytes(field.name.as_bytes())?,
                    HeaderValue::from_bytes(field.value)?,
                );
            }
            let interim = self.interim.clone();
            return Ok(Some((Answer { status, headers, body: Bytes::new(), interim }, length)));
        }
    }

    async fn read(&mut self) -> Result<usize> {
        match self.stream.read_buf(&mut self.seen).await {
            Err(error) if !hung_up(&error) => Err(error.into()),
            read => Ok(read.unwrap_or(0)),
        }
    }
}

fn hung_up(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
