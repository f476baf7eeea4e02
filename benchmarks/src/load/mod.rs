//! The load: a number of connections, each sending its next request when the last one was answered (a closed loop), or when it is due
//! (an open one).
//!
//! All of it runs on one thread: on a small machine each microsecond that the generator takes is one that the subject lacks,
//! and a second thread would bring hand-overs but no throughput. What it takes is measured and reported.

mod api;
mod body;
mod connection;
mod pace;
mod protocol;
mod tally;

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use tokio::{net::TcpStream, task::JoinSet, time::Instant};

use self::protocol::Lines;
pub(crate) use self::{
    api::Api,
    body::Framing,
    pace::Pace,
    protocol::Protocol,
    tally::{Remembered, Tally},
};

/// What is sent where.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Who is asked.
    pub target: SocketAddr,
    /// What each path begins with; for a PUT, the connection's and the request's number follow.
    pub prefix: String,
    /// What an upload's requests are.
    pub api: Api,
    /// How they are sent.
    pub protocol: Protocol,
    /// When they are due.
    pub pace: Pace,
    /// Into how many projects requests are dealt; 0: they name none.
    pub projects: u64,
    /// How many connections are open at once; of HTTP/2, how many streams.
    pub connections: usize,
    /// Whether all connections are opened, one after the other, before the first request begins; not those of HTTP/2, which are few.
    pub opens_first: bool,
    /// Over how long a time their first requests are spread.
    pub spread: Duration,
    /// The size of each body, in bytes.
    pub body_bytes: u64,
    /// How its length is told.
    pub framing: Framing,
    /// Whether a body waits for `100 Continue`.
    pub expects: bool,
    /// How long each body takes; as fast as it is taken, if nothing is said.
    pub trickle: Option<Duration>,
    /// After this time no request is begun.
    pub duration: Duration,
    /// After so many requests no request is begun.
    pub requests: u64,
    /// The longest time for one request.
    pub deadline: Duration,
    /// Whether it is remembered when each request was acknowledged.
    pub remembers: bool,
    /// Whether a connection that is refused keeps away for as long as it is told to.
    pub obeys: bool,
}

impl Plan {
    /// PUTs of `body_bytes` over so many connections, each with one after the other as fast as they are taken, for at most 5 minutes; the
    /// rest is for its caller to change.
    pub(crate) fn put(target: SocketAddr, connections: usize, body_bytes: u64) -> Self {
        Self {
            target,
            prefix: "/v1/files/up".into(),
            api: Api::Put,
            protocol: Protocol::Http1,
            pace: Pace::Closed,
            projects: 0,
            connections,
            opens_first: false,
            spread: Duration::ZERO,
            body_bytes,
            framing: Framing::Length,
            expects: false,
            trickle: None,
            duration: Duration::from_mins(5),
            requests: u64::MAX,
            deadline: Duration::from_secs(30),
            remembers: false,
            obeys: false,
        }
    }
}

/// What a load came to.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The outcomes.
    pub tally: Tally,
    /// From the first request's beginning to the last one's end.
    pub took: Duration,
}

/// A plan under way.
#[derive(Debug)]
struct Load {
    plan: Plan,
    begun: Instant,
    until: Instant,
    next: AtomicU64,
    // One for all: a histogram for each of ten thousand connections would be a gigabyte.
    tally: Mutex<Tally>,
    lines: Lines,
}

/// A request's turn.
#[derive(Clone, Copy, Debug)]
struct Turn {
    number: u64,
    due: Option<Instant>,
}

impl Load {
    /// When a connection begins with its first request.
    fn begins(&self, connection: usize) -> Instant {
        self.begun + self.plan.spread.mul_f64(connection as f64 / self.plan.connections as f64)
    }

    /// Whether another request may begin.
    fn goes_on(&self) -> bool {
        self.next.load(Ordering::Relaxed) < self.plan.requests && Instant::now() < self.until
    }

    /// The next request; `None` when it is over.
    fn next(&self) -> Option<Turn> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let due = self.plan.pace.due(self.begun, number);
        let begins = due.unwrap_or_else(Instant::now);
        (number < self.plan.requests && begins < self.until).then_some(Turn { number, due })
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A plan whose connections are open, if they are to be opened first.
#[derive(Debug)]
pub(crate) struct Ready {
    plan: Plan,
    opened: Vec<TcpStream>,
}

/// Makes a plan ready.
///
/// # Errors
/// When connections are to be opened first, and one is not taken.
pub(crate) async fn ready(plan: Plan) -> anyhow::Result<Ready> {
    let mut opened = Vec::new();
    let opens_first = plan.opens_first && plan.protocol == Protocol::Http1;
    while opens_first && opened.len() < plan.connections {
        opened.push(connection::open(plan.target).await.context("open a connection")?);
    }
    Ok(Ready { plan, opened })
}

impl Ready {
    /// Sends all of the plan. Ends at the latest one deadline after its duration.
    ///
    /// # Errors
    /// Only when the generator itself fails; what the subject does is counted.
    pub(crate) async fn run(self) -> anyhow::Result<Loaded> {
        let Self { plan, mut opened } = self;
        let begun = Instant::now();
        let (until, tally) = (begun + plan.duration, Mutex::new(Tally::new()?));
        let lines = Lines::of(&plan);
        let load = Arc::new(Load { begun, until, next: AtomicU64::new(0), tally, lines, plan });
        let mut workers = JoinSet::new();
        for number in 0..load.plan.connections {
            workers.spawn(connection::work(Arc::clone(&load), number, opened.pop()));
        }
        while let Some(worker) = workers.join_next().await {
            worker?;
        }
        let took = begun.elapsed();
        let load = Arc::into_inner(load).context("a connection has outlived the load")?;
        Ok(Loaded { tally: load.tally.into_inner().unwrap_or_else(PoisonError::into_inner), took })
    }
}

/// Makes a plan ready and sends all of it.
///
/// # Errors
/// As the two of them.
pub(crate) async fn run(plan: Plan) -> anyhow::Result<Loaded> {
    ready(plan).await?.run().await
}

#[cfg(test)]
mod tests;
