//! One connection of the load: opened again whenever the subject closes it.

use std::{convert::Infallible, future::pending, io, net::SocketAddr, sync::Arc, time::Duration};

use hyper::{
    Request, Response, StatusCode,
    body::{Body as _, Incoming},
    client::conn::http1::{self, Connection, SendRequest},
    header::HOST,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpSocket, TcpStream},
    time::{Instant, sleep, timeout},
};

use super::{
    Load,
    body::Filler,
    tally::{Failure, Tally},
};

/// The wait after a failure, so that a subject that is gone is not asked in a busy loop.
const PAUSE: Duration = Duration::from_millis(10);

/// `SO_SNDBUF` of each connection, in bytes; the kernel doubles it.
const SEND_BUFFER: u32 = 256 << 10;

/// Sends requests until the load is over, and counts what came of them.
pub(super) async fn work(load: Arc<Load>, number: usize) -> anyhow::Result<Tally> {
    let mut worker = Worker { number, tally: Tally::new()?, load };
    while worker.load.goes_on() {
        if let Err(failure) = worker.connection().await {
            worker.tally.failed(failure);
            sleep(PAUSE).await;
        }
    }
    Ok(worker.tally)
}

struct Worker {
    number: usize,
    tally: Tally,
    load: Arc<Load>,
}

impl Worker {
    /// Opens a connection and uses it until it or the load ends.
    async fn connection(&mut self) -> Result<(), Failure> {
        let (sender, connection) = self.connect().await?;
        // The connection's end is not the end of the requests: an answer may have come with it.
        let driven = async {
            drop(connection.await);
            pending::<Infallible>().await
        };
        tokio::select! {
            ended = self.requests(sender) => ended,
            never = driven => match never {},
        }
    }

    async fn connect(
        &self,
    ) -> Result<(SendRequest<Filler>, Connection<TokioIo<TcpStream>, Filler>), Failure> {
        let opened = async {
            let stream = open(self.load.plan.target).await.map_err(|_| Failure::Connect)?;
            http1::handshake(TokioIo::new(stream)).await.map_err(|_| Failure::Connect)
        };
        timeout(self.load.plan.deadline, opened).await.map_err(|_| Failure::Deadline)?
    }

    /// One request after the other.
    async fn requests(&mut self, mut sender: SendRequest<Filler>) -> Result<(), Failure> {
        let deadline = self.load.plan.deadline;
        // A connection that ends before its first request would be opened for ever; after an answer it may end.
        timeout(deadline, sender.ready())
            .await
            .map_err(|_| Failure::Deadline)?
            .map_err(|_| Failure::Broken)?;
        while let Some(turn) = self.load.next() {
            let begun = Instant::now();
            let exchange = timeout(deadline, self.exchange(&mut sender, turn));
            let status = exchange.await.map_err(|_| Failure::Deadline)??;
            self.tally.answered(status, begun.elapsed());
            if self.load.plan.remembers {
                self.tally.remember(status, turn);
            }
            match timeout(deadline, sender.ready()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Ok(()),
                Err(_) => return Err(Failure::Deadline),
            }
        }
        Ok(())
    }

    /// Sends one body and reads the answer to its end. An answer that comes before the body was sent counts.
    async fn exchange(&self, sender: &mut SendRequest<Filler>, turn: u64) -> Result<StatusCode, Failure> {
        let plan = &self.load.plan;
        let mut request =
            Request::put(format!("{}/{}/{turn}", plan.prefix, self.number)).header(HOST, "localhost");
        if let Some(project) = turn.checked_rem(plan.projects) {
            request = request.header("x-project-id", format!("project-{project}"));
        }
        let request = request
            .body(Filler::new(turn, plan.body_bytes, plan.framing).over(plan.trickle))
            .map_err(|_| Failure::Broken)?;
        let answer = sender.send_request(request).await.map_err(|_| Failure::Broken)?;
        let status = answer.status();
        read_through(answer).await?;
        Ok(status)
    }
}

/// Opens a connection whose kernel takes little at a time: a thousand that each wrote megabytes before the next had its turn would keep
/// the last one's head back for longer than a subject waits for it.
async fn open(target: SocketAddr) -> io::Result<TcpStream> {
    let socket = if target.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_send_buffer_size(SEND_BUFFER)?;
    let stream = socket.connect(target).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Reads an answer to its end and throws it away.
async fn read_through(answer: Response<Incoming>) -> Result<(), Failure> {
    use http_body_util::BodyExt as _;

    let mut body = answer.into_body();
    while !body.is_end_stream() {
        match body.frame().await {
            Some(Ok(_)) => {}
            Some(Err(_)) => return Err(Failure::Broken),
            None => break,
        }
    }
    Ok(())
}
