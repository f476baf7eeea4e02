//! A proxy between a client and a server that breaks what passes, as planned: one request for each connection, so that each fault hits
//! what it is meant for.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Result;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, Interest},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    task::JoinSet,
    time::sleep,
};

/// How often it is looked whether a client that is not read from is still there.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What an answer repeats of the request that it refuses, as S3's do; it must get into no log.
pub const SENT: &str = "<CanonicalRequest>x-amz-security-token:what-was-sent</CanonicalRequest>";

/// What happens to a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// It is answered with this status, and the server never sees it.
    Status(u16),
    /// Its body is taken to the end, then it is answered with this status, and the server never sees it.
    StatusAfterBody(u16),
    /// It is passed on only after so long.
    Slow(Duration),
    /// Nothing is ever answered.
    Silence,
    /// The connection is reset before a byte of the body.
    ResetBeforeBody,
    /// The connection is reset when this many bytes of the body have passed.
    ResetAfter(u64),
    /// The connection is reset when all bytes of the body have passed but one.
    ResetAtTheEnd,
    /// The server does all that was asked, and its answer is lost.
    LostAnswer,
    /// When this many bytes of the body have passed, no more are taken.
    StallAfter(u64),
    /// The server's answer says that the bytes add up to something else.
    OtherChecksum,
}

/// A request that is meant, and what happens to it.
#[derive(Clone, Debug)]
struct Planned {
    method: &'static str,
    /// Stands somewhere in the target.
    within: String,
    fault: Fault,
}

/// A proxy that listens until it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    _server: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    upstream: SocketAddr,
    plan: Mutex<VecDeque<Planned>>,
    seen: Mutex<Vec<String>>,
    /// Bytes of bodies that clients sent.
    taken: Mutex<u64>,
}

impl Proxy {
    /// Listens on a free port, in front of the server at `upstream`.
    ///
    /// # Errors
    /// When there is no port.
    pub async fn start(upstream: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            upstream,
            plan: Mutex::default(),
            seen: Mutex::default(),
            taken: Mutex::default(),
        });
        let mut server = JoinSet::new();
        server.spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, _server: server })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Breaks the next `times` requests with this method that have `within` in their target.
    pub fn plan(&self, method: &'static str, within: &str, fault: Fault, times: usize) {
        let planned = Planned { method, within: within.to_owned(), fault };
        lock(&self.shared.plan).extend(std::iter::repeat_n(planned, times));
    }

    /// How many faults have not come to pass.
    pub fn left(&self) -> usize {
        lock(&self.shared.plan).len()
    }

    /// Forgets the faults that have not come to pass, what was seen, and what was taken.
    pub fn clear(&self) {
        lock(&self.shared.plan).clear();
        lock(&self.shared.seen).clear();
        *lock(&self.shared.taken) = 0;
    }

    /// The method and target of all requests so far.
    pub fn seen(&self) -> Vec<String> {
        lock(&self.shared.seen).clone()
    }

    /// How many bytes of bodies clients have sent.
    pub fn taken(&self) -> u64 {
        *lock(&self.shared.taken)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { continue };
                let shared = Arc::clone(&shared);
                // How it ends is what the client sees.
                connections.spawn(async move { drop(exchange(client, &shared).await) });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// The head of a request, and what came with it.
struct Head {
    text: String,
    method: String,
    target: String,
    length: u64,
    expects: bool,
    /// Bytes of the body that came with the head.
    rest: Vec<u8>,
}

async fn exchange(mut client: TcpStream, shared: &Shared) -> io::Result<()> {
    client.set_nodelay(true)?;
    let Some(head) = head(&mut client).await? else { return Ok(()) };
    lock(&shared.seen).push(format!("{} {}", head.method, head.target));
    let fault = {
        let mut plan = lock(&shared.plan);
        let meant =
            plan.iter().position(|one| one.method == head.method && head.target.contains(&one.within));
        meant.and_then(|at| plan.remove(at)).map(|planned| planned.fault)
    };
    match fault {
        Some(Fault::Status(status)) if head.expects => answer(&mut client, status).await,
        Some(Fault::Status(status) | Fault::StatusAfterBody(status)) => {
            client.write_all(if head.expects { b"HTTP/1.1 100 Continue\r\n\r\n" } else { b"" }).await?;
            let (mut from, _) = client.split();
            take(&mut from, None, &head, head.length, shared).await?;
            answer(&mut client, status).await
        }
        Some(Fault::Slow(wait)) => {
            sleep(wait).await;
            pass(client, &head, Passage::default(), shared).await
        }
        Some(Fault::Silence) => gone(&client).await,
        Some(Fault::ResetBeforeBody) => client.set_zero_linger(),
        Some(fault) => pass(client, &head, fault.into(), shared).await,
        None => pass(client, &head, Passage::default(), shared).await,
    }
}

/// How far a request is let through, and what is done then.
#[derive(Default)]
struct Passage {
    bytes: Option<u64>,
    all_but_one: bool,
    stall: bool,
    lose_answer: bool,
    mangle: bool,
}

impl From<Fault> for Passage {
    fn from(fault: Fault) -> Self {
        let all = Self::default();
        match fault {
            Fault::ResetAfter(bytes) => Self { bytes: Some(bytes), ..all },
            Fault::ResetAtTheEnd => Self { all_but_one: true, ..all },
            Fault::StallAfter(bytes) => Self { bytes: Some(bytes), stall: true, ..all },
            Fault::LostAnswer => Self { lose_answer: true, ..all },
            Fault::OtherChecksum => Self { mangle: true, ..all },
            _ => all,
        }
    }
}

async fn pass(mut client: TcpStream, head: &Head, passage: Passage, shared: &Shared) -> io::Result<()> {
    let mut server = TcpStream::connect(shared.upstream).await?;
    // The end of the answer is then the end of the connection.
    let text = head.text.trim_end().to_owned() + "\r\nconnection: close\r\n\r\n";
    server.write_all(text.as_bytes()).await?;
    let limit = passage.bytes.unwrap_or(head.length).min(head.length - u64::from(passage.all_but_one));
    let short = limit < head.length;
    let broken = {
        let ((mut from, to), (mut back, mut on)) = (client.split(), server.split());
        let body = async {
            take(&mut from, Some(&mut on), head, limit, shared).await?;
            if short && passage.stall {
                gone(from.as_ref()).await?;
            }
            if short { Err(io::ErrorKind::ConnectionReset.into()) } else { watch(&mut from).await }
        };
        let answer = hand_back(&mut back, to, &passage);
        tokio::select! { ended = body => ended, ended = answer => ended }
    };
    if broken.is_err() {
        client.set_zero_linger()?;
        server.set_zero_linger()?;
    }
    broken
}

/// Reads nothing, and waits until the client goes away.
async fn gone(client: &TcpStream) -> io::Result<()> {
    loop {
        let ready = client.ready(Interest::READABLE | Interest::ERROR).await?;
        if ready.is_read_closed() || ready.is_error() {
            return Ok(());
        }
        // What is unread keeps it ready.
        sleep(LOOK_EVERY).await;
    }
}

/// A client that goes away ends the exchange.
async fn watch(from: &mut ReadHalf<'_>) -> io::Result<()> {
    let mut more = [0; 1];
    if from.read(&mut more).await? == 0 { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(()) }
}

/// Takes bytes of the body, and passes them on.
async fn take(
    from: &mut ReadHalf<'_>,
    mut on: Option<&mut WriteHalf<'_>>,
    head: &Head,
    limit: u64,
    shared: &Shared,
) -> io::Result<()> {
    let (mut buffer, mut taken) = (head.rest.clone(), 0);
    while taken < limit {
        if buffer.is_empty() {
            buffer.resize(16 << 10, 0);
            let read = from.read(&mut buffer).await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            buffer.truncate(read);
        }
        let most = usize::try_from(limit - taken).unwrap_or(usize::MAX).min(buffer.len());
        if let Some(on) = &mut on {
            on.write_all(buffer.get(..most).unwrap_or_default()).await?;
        }
        taken += most as u64;
        *lock(&shared.taken) += most as u64;
        buffer.clear();
    }
    Ok(())
}

async fn hand_back(from: &mut ReadHalf<'_>, mut to: WriteHalf<'_>, passage: &Passage) -> io::Result<()> {
    if !passage.lose_answer && !passage.mangle {
        tokio::io::copy(from, &mut to).await?;
        return Ok(());
    }
    let mut all = Vec::new();
    from.read_to_end(&mut all).await?;
    if passage.lose_answer {
        return Err(io::ErrorKind::ConnectionReset.into());
    }
    let text = String::from_utf8_lossy(&all);
    let (head, body) = text.split_once("HTTP/1.1 200 OK\r\n").unwrap_or_default();
    let other = format!("{head}HTTP/1.1 200 OK\r\nx-amz-checksum-crc64nvme: AAAAAAAAAAA=\r\n{body}");
    to.write_all(other.as_bytes()).await
}

async fn answer(client: &mut TcpStream, status: u16) -> io::Result<()> {
    let body = format!("<Error><Code>Planned</Code><Message>as planned</Message>{SENT}</Error>");
    let length = body.len();
    let text =
        format!("HTTP/1.1 {status} Planned\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}");
    client.write_all(text.as_bytes()).await?;
    client.shutdown().await
}

/// Reads a head; `None` when the client has nothing to say.
async fn head(client: &mut TcpStream) -> io::Result<Option<Head>> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if client.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    };
    let rest = bytes.split_off(end);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let mut words = text.split(' ').map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let lower = text.to_ascii_lowercase();
    let field = |name: &str| {
        lower
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .map(|value| value.trim().to_owned())
    };
    let length = field("content-length").and_then(|value| value.parse().ok()).unwrap_or_default();
    let expects = field("expect").is_some();
    Ok(Some(Head { method, target, length, expects, text, rest }))
}
