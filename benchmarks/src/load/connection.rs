//! One connection of the load: opened again whenever the subject closes it.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use hyper::{
    HeaderMap, Request, StatusCode,
    body::{Body as _, Incoming},
    ext::on_informational,
    header::{EXPECT, RETRY_AFTER},
    http::request::Builder,
};
use tokio::{
    net::{TcpSocket, TcpStream},
    sync::Notify,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    Load, Turn, api,
    body::Filler,
    protocol::{Driver, Sender, drive},
    tally::{Answer, Failure},
};

/// The wait after a failure, so that a subject that is gone is not asked in a busy loop.
const PAUSE: Duration = Duration::from_millis(10);

/// `SO_SNDBUF` of each connection, in bytes; the kernel doubles it.
const SEND_BUFFER: u32 = 256 << 10;

/// Sends requests until the load is over, over a connection that is open already if there is one.
pub(super) async fn work(load: Arc<Load>, number: usize, opened: Option<TcpStream>) {
    sleep_until(load.begins(number)).await;
    let mut worker = Worker { number, opened, load };
    while worker.load.goes_on() {
        if let Err(failure) = worker.connection().await {
            worker.load.tally().failed(failure);
            sleep(PAUSE).await;
        }
    }
}

struct Worker {
    number: usize,
    opened: Option<TcpStream>,
    load: Arc<Load>,
}

/// The head of an answer, and whether the request was sent to its end.
struct Head {
    status: StatusCode,
    headers: HeaderMap,
    sent: bool,
}

impl Worker {
    /// Opens a connection and uses it until it or the load ends.
    async fn connection(&mut self) -> Result<(), Failure> {
        let (sender, driver) = self.connect().await?;
        tokio::select! {
            ended = self.requests(sender) => ended,
            never = drive(driver) => match never {},
        }
    }

    async fn connect(&mut self) -> Result<(Sender, Option<Driver>), Failure> {
        let (load, opened) = (Arc::clone(&self.load), self.opened.take());
        let connected = async {
            if let Some(shared) = load.lines.place(self.number, &load.plan).await? {
                return Ok((shared, None));
            }
            let stream = match opened {
                Some(stream) => stream,
                None => open(load.plan.target).await?,
            };
            let (sender, driver) = Sender::http1(stream).await.map_err(io::Error::other)?;
            Ok::<_, io::Error>((sender, Some(driver)))
        };
        let connected = timeout(self.load.plan.deadline, connected).await.map_err(|_| Failure::Deadline)?;
        connected.map_err(|_| Failure::Connect)
    }

    /// One request after the other.
    async fn requests(&self, mut sender: Sender) -> Result<(), Failure> {
        let deadline = self.load.plan.deadline;
        // A connection that ends before its first request would be opened for ever; after an answer it may end.
        timeout(deadline, sender.ready())
            .await
            .map_err(|_| Failure::Deadline)?
            .map_err(|_| Failure::Broken)?;
        while let Some(turn) = self.load.next() {
            if let Some(due) = turn.due {
                sleep_until(due).await;
            }
            let begun = turn.due.unwrap_or_else(Instant::now);
            let exchange = timeout(deadline, self.upload(&mut sender, turn.number));
            let head = exchange.await.map_err(|_| Failure::Deadline)??;
            self.answered(turn, &head, begun).await;
            if !head.sent {
                return Ok(());
            }
            match timeout(deadline, sender.ready()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Ok(()),
                Err(_) => return Err(Failure::Deadline),
            }
        }
        Ok(())
    }

    /// Counts an answer, and keeps away for as long as it says, if that is how this load is.
    async fn answered(&self, turn: Turn, head: &Head, begun: Instant) {
        let retry_after = head.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let answer = Answer { status: head.status, retry_after: retry_after.map(Duration::from_secs) };
        let took = begun.elapsed();
        self.load.tally().answered(&answer, took);
        if self.load.plan.remembers {
            self.load.tally().remember(head.status, turn.number, took);
        }
        if let (Some(wait), true) = (answer.retry_after, self.load.plan.obeys) {
            sleep_until(self.load.until.min(Instant::now() + wait)).await;
        }
    }

    /// Sends one body, in as many requests as that takes.
    async fn upload(&self, sender: &mut Sender, turn: u64) -> Result<Head, Failure> {
        let plan = &self.load.plan;
        let mut offset = plan.api.first(plan.body_bytes);
        let begin = api::begin(plan, self.number, turn);
        let mut head = self.exchange(sender, begin, turn, offset).await?;
        if offset == plan.body_bytes || !head.status.is_success() {
            return Ok(head);
        }
        let place = api::place(&head.headers).ok_or(Failure::Broken)?;
        while offset < plan.body_bytes && head.status.is_success() {
            sender.ready().await.map_err(|_| Failure::Broken)?;
            let bytes = plan.api.first(plan.body_bytes - offset);
            head = self.exchange(sender, api::go_on(&place, offset), turn + offset, bytes).await?;
            offset += bytes;
        }
        Ok(head)
    }

    /// Sends one request and reads the answer to its end. An answer that comes before the body was sent counts.
    async fn exchange(
        &self,
        sender: &mut Sender,
        head: Builder,
        number: u64,
        bytes: u64,
    ) -> Result<Head, Failure> {
        let plan = &self.load.plan;
        let part = bytes as f64 / plan.body_bytes.max(1) as f64;
        let body = Filler::new(number, bytes, plan.framing).over(plan.trickle.map(|all| all.mul_f64(part)));
        let request = if plan.expects { expecting(head, body)? } else { plain(head, body)? };
        let answer = sender.send(request).await.map_err(|_| Failure::Broken)?;
        let (answer, body) = answer.into_parts();
        read_through(body).await?;
        // A body that was never asked for is never sent.
        let sent = !plan.expects || answer.status.is_success();
        Ok(Head { status: answer.status, headers: answer.headers, sent })
    }
}

fn plain(head: Builder, body: Filler) -> Result<Request<Filler>, Failure> {
    head.body(body).map_err(|_| Failure::Broken)
}

/// A request whose body waits for `100 Continue`.
fn expecting(head: Builder, body: Filler) -> Result<Request<Filler>, Failure> {
    let asked = Arc::new(Notify::new());
    let body = body.after(Arc::clone(&asked).notified_owned());
    let mut request = plain(head.header(EXPECT, "100-continue"), body)?;
    on_informational(&mut request, move |_| asked.notify_one());
    Ok(request)
}

/// Opens a connection whose kernel takes little at a time: a thousand that each wrote megabytes before the next had its turn would keep
/// the last one's head back for longer than a subject waits for it.
pub(super) async fn open(target: SocketAddr) -> io::Result<TcpStream> {
    let socket = if target.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_send_buffer_size(SEND_BUFFER)?;
    let stream = socket.connect(target).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Reads an answer to its end and throws it away.
async fn read_through(mut body: Incoming) -> Result<(), Failure> {
    use http_body_util::BodyExt as _;

    while !body.is_end_stream() {
        match body.frame().await {
            Some(Ok(_)) => {}
            Some(Err(_)) => return Err(Failure::Broken),
            None => break,
        }
    }
    Ok(())
}
