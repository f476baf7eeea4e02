//! Requests that carry the bodies of uploads as they come. Whoever puts writes them to their connections, frame by frame.
//!
//! hyper would do that in a task of its own for each, with a buffer to read and one to write of 8 KiB, and a channel of 10 KiB to hand the
//! request over. Of a thousand streams that was two fifths of their memory, and for each frame two tasks were woken where one is now.

mod answer;
mod idle;
mod line;

use std::{future::poll_fn, io, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Response, Uri, request::Parts};
use hyper_rustls::MaybeHttpsStream;
use tower_service::Service;

use self::{idle::Idle, line::Line};
use super::{
    super::pipe::{BrokenOff, Pipe},
    client::ClientError,
    wire::Wire,
};

type Boxed = Box<dyn std::error::Error + Send + Sync>;

/// The longest wait for the words of a refusal. Shorter than a store's stall: else who reads the body gives up first, and the refusal is lost.
const WORDS: Duration = Duration::from_secs(2);

/// Sends such requests, each over a connection that it has to itself.
#[derive(Clone, Debug)]
pub(super) struct Exchanges<C> {
    connector: C,
    idle: Arc<Idle>,
    words: Duration,
}

impl<C> Exchanges<C>
where
    C: Service<Uri, Response = MaybeHttpsStream<Wire>, Error = Boxed> + Clone,
{
    /// Keeps so many connections for so long; a store that takes or says nothing is given up after `stall`.
    pub(super) fn new(connector: C, (most, lasting): (usize, Duration), stall: Duration) -> Self {
        Self { connector, idle: Arc::new(Idle::new(most, lasting)), words: WORDS.min(stall / 2) }
    }

    /// Sends a request whose body passes through `pipe`, and reads the answer. A success comes with as much of its body as is there by then.
    ///
    /// # Errors
    /// When there is no connection or it broke, the pipe was broken off, or a request before this one has had some of the body.
    pub(super) async fn send(&self, head: &Parts, pipe: &Pipe) -> Result<Response<Bytes>, ClientError> {
        let authority = head.uri.authority().map_or("", |authority| authority.as_str());
        let to = [head.uri.scheme_str().unwrap_or_default(), "://", authority].concat();
        while let Some(line) = self.idle.take(&to) {
            match self.over(line, head, pipe).await {
                // The store has closed it in the meantime.
                Err(error) if is_closed(&error) && pipe.is_untouched() => {}
                answered => return answered.map_err(exchange),
            }
        }
        let mut connector = self.connector.clone();
        poll_fn(|context| connector.poll_ready(context)).await.map_err(ClientError::Connect)?;
        let stream = connector.call(head.uri.clone()).await.map_err(ClientError::Connect)?;
        self.over(Line::new(to, stream), head, pipe).await.map_err(exchange)
    }

    /// Closes connections that were idle for too long. Who asks the store for something else now and then does this each time.
    pub(super) fn close_old(&self) {
        self.idle.close_old();
    }

    async fn over(&self, mut line: Line, head: &Parts, pipe: &Pipe) -> io::Result<Response<Bytes>> {
        if !pipe.begin() {
            return Err(io::Error::other(BrokenOff));
        }
        let answered = line.send(head, pipe, self.words).await;
        pipe.shut();
        let (response, goes_on) = answered?;
        if goes_on {
            self.idle.keep(line);
        }
        Ok(response)
    }
}

fn exchange(error: io::Error) -> ClientError {
    ClientError::Exchange(error.into())
}

/// Whether the other side ended the connection.
fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

#[cfg(test)]
mod tests;
