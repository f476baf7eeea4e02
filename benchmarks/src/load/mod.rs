//! The load: a number of connections, each sending its next request when the last one was answered (a closed loop).
//!
//! All of it runs on one thread: on a small machine each microsecond that the generator takes is one that the subject lacks,
//! and a second thread would bring hand-overs but no throughput. What it takes is measured and reported.

mod body;
mod connection;
mod tally;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{task::JoinSet, time::Instant};

pub(crate) use self::{body::Framing, tally::Tally};

/// What is sent where.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Who is asked.
    pub target: SocketAddr,
    /// What each path begins with; the connection's and the request's number follow.
    pub prefix: String,
    /// Into how many projects requests are dealt; 0: they name none.
    pub projects: u64,
    /// How many connections are open at once.
    pub connections: usize,
    /// The size of each body, in bytes.
    pub body_bytes: u64,
    /// How its length is told.
    pub framing: Framing,
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
    until: Instant,
    begun: AtomicU64,
}

impl Load {
    /// Whether another request may begin.
    fn goes_on(&self) -> bool {
        self.begun.load(Ordering::Relaxed) < self.plan.requests && Instant::now() < self.until
    }

    /// The number of the next request; `None` when it is over.
    fn next(&self) -> Option<u64> {
        let number = self.begun.fetch_add(1, Ordering::Relaxed);
        (number < self.plan.requests && Instant::now() < self.until).then_some(number)
    }
}

/// Sends all of `plan`. Ends at the latest one deadline after the plan's duration.
///
/// # Errors
/// Only when the generator itself fails; what the subject does is counted.
pub(crate) async fn run(plan: Plan) -> anyhow::Result<Loaded> {
    let begun = Instant::now();
    let load = Arc::new(Load { until: begun + plan.duration, begun: AtomicU64::new(0), plan });
    let mut workers = JoinSet::new();
    for number in 0..load.plan.connections {
        workers.spawn(connection::work(Arc::clone(&load), number));
    }
    let mut tally = Tally::new()?;
    while let Some(worker) = workers.join_next().await {
        tally.add(&worker??)?;
    }
    Ok(Loaded { tally, took: begun.elapsed() })
}

#[cfg(test)]
mod tests;
