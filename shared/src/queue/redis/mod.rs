//! A queue in Redis, for many processes: three streams, and beside them what the bound, the order and the leases need.
//!
//! Every verb is one script, which runs as a whole or not at all, by Redis' own clock. Where a job stands is told by Redis' structures:
//! a stream's entry is in line, or pending in the group `processors` and then leased; a delayed job is in a sorted set until its time.
//! `jobs` knows every job by its id, wherever it is: the bound is its size and the credits, and it is exact. Depth is counted from the
//! sizes of these, and never from `lag`, which is wrong once entries are deleted.
//!
//! A lease is a member `entry:claim` of a sorted set, by the time it lapses at. Claims have random numbers: an answer fits its own claim
//! alone, also after Redis forgot everything, or remembered an older state.
//!
//! Redis may lose all of it at any time. The next caller founds the queue anew, [`JobQueue::incarnation`] changes, and the sweep makes
//! the jobs again.

mod answer;
mod connections;
mod group;
mod keys;
mod lost;
mod peek;
mod pushes;
mod scripts;
mod server;
mod trusted;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use deadpool_redis::redis::{FromRedisValue, Script, ScriptInvocation};
use tokio::time::Instant;
use tracing::{info, warn};

use self::{
    answer::{Answer, Counts, Found, micros, words},
    connections::{Connections, LISTEN, NoAnswer},
    keys::Keys,
    lost::Lost,
    pushes::{Pushed, Pushes},
    scripts::Scripts,
};
use super::{Claimed, Depth, Error, Grant, Holder, JobQueue, Settings, Ticket};
use crate::{
    model::{Job, Priority, json},
    report::Report,
    resilience::Guard,
    telemetry::pool::PoolState,
};

/// The most jobs in one call of a script: Lua takes no more than 8,000 arguments at once. More tickets go in more calls.
const MOST: usize = 1000;

/// Consumers that did nothing for so many leases are forgotten.
const IDLE_LEASES: u32 = 10;

/// How this process uses Redis.
#[derive(Clone, Debug)]
pub struct Options {
    /// The queue's name, in its keys: `{hw:NAME}:high`.
    pub name: String,
    /// The most connections for commands; as many more may wait for jobs.
    pub pool: usize,
    /// The longest wait for an answer, the wait for a job not counted.
    pub command_timeout: Duration,
    /// Names this process: no other one alive may have the same.
    pub consumer: String,
    /// Guards and counts the calls.
    pub guard: Guard,
}

/// The handle.
pub struct RedisQueue {
    connections: Arc<Connections>,
    keys: Arc<Keys>,
    scripts: Scripts,
    settings: Settings,
    consumer: String,
    pushes: Pushes,
    lost: Lost,
    /// When the queue is looked after next.
    look_after: Mutex<Instant>,
}

impl RedisQueue {
    /// Connects, checks the server, and founds the queue if nobody did. `url` is `redis://…` or, with TLS, `rediss://…`.
    ///
    /// # Errors
    /// When Redis cannot be reached, is older than 7.0, or may evict what it was given.
    pub async fn open(url: &str, options: Options, settings: Settings) -> Result<Self, OpenError> {
        let Options { name, pool, command_timeout, consumer, guard } = options;
        if name.is_empty() || name.contains(['{', '}']) {
            return Err(OpenError::Name { name });
        }
        let connections = Arc::new(Connections::new(url, pool, command_timeout, guard)?);
        server::check(&connections).await?;
        let keys = Arc::new(Keys::new(&name));
        let queue = Self {
            connections,
            pushes: Pushes::new(&keys, settings.capacity),
            keys,
            scripts: Scripts::new(),
            settings,
            consumer,
            lost: Lost::default(),
            look_after: Mutex::new(Instant::now() + settings.lease),
        };
        queue.found().await.map_err(|error| OpenError::Unreachable(Box::new(error)))?;
        Ok(queue)
    }

    /// How the connections are used.
    pub fn pool(&self) -> PoolState {
        self.connections.state()
    }

    /// Makes what is missing; see `scripts/found.lua`. Answers the epoch.
    async fn found(&self) -> Result<String, NoAnswer> {
        let epoch = format!("{:032x}", fastrand::u128(..));
        let founded: String =
            self.connections.invoke(self.with_keys(&self.scripts.found).arg(&epoch)).await?;
        if founded == epoch {
            info!(epoch, "queue founded in Redis");
        }
        Ok(founded)
    }

    fn with_keys<'s>(&self, script: &'s Script) -> ScriptInvocation<'s> {
        script.key(self.keys.all())
    }

    /// Runs a script; on a queue that is not there, after founding it.
    async fn run<T: FromRedisValue>(&self, script: &ScriptInvocation<'_>) -> Result<T, Error> {
        self.ask(script).await.map_err(unavailable)
    }

    async fn ask<T: FromRedisValue>(&self, script: &ScriptInvocation<'_>) -> Result<T, NoAnswer> {
        let answer = self.connections.invoke(script).await;
        if answer.as_ref().is_err_and(NoAnswer::is_unfounded) {
            self.found().await?;
            return self.connections.invoke(script).await;
        }
        answer
    }

    /// Runs a script on some tickets after the others.
    async fn run_on(&self, script: &Script, first: Option<u64>, tickets: &[Ticket]) -> Result<(), Error> {
        for some in tickets.chunks(MOST) {
            let mut call = self.with_keys(script);
            call.arg(first);
            for ticket in some {
                call.arg(&words(ticket));
            }
            self.run::<u64>(&call).await?;
        }
        Ok(())
    }

    /// Claims what is there now.
    async fn take(&self, max: usize) -> Result<Found, Error> {
        self.look_after().await?;
        self.recover().await?;
        let attempt = self.lost.attempt();
        let mut call = self.with_keys(&self.scripts.claim);
        call.arg(max.min(MOST)).arg(&self.consumer).arg(attempt.claim()).arg(micros(self.settings.lease));
        call.arg(&Priority::ALL.map(Priority::weight));
        let answer = match self.ask::<Answer>(&call).await {
            Err(unsent) if unsent.was_not_sent() => {
                attempt.heard();
                return Err(unavailable(unsent));
            }
            answer => answer.map_err(unavailable)?,
        };
        let mut found = Found::read(answer, attempt.claim());
        for (error, ticket) in found.strange.drain(..) {
            warn!(entry = ticket[2], error = %Report(&error), "unreadable job put back, for a newer process or an operator");
            self.put_back(&ticket, self.settings.lease, false).await?;
        }
        attempt.heard();
        Ok(found)
    }

    async fn put_back(&self, ticket: &[String; 4], delay: Duration, tried: bool) -> Result<(), Error> {
        let mut call = self.with_keys(&self.scripts.again);
        call.arg(micros(delay)).arg(u8::from(tried)).arg(ticket);
        self.run::<u64>(&call).await.map(drop)
    }

    /// Puts back what lost claims took, if there are any.
    async fn recover(&self) -> Result<(), Error> {
        let claims = self.lost.to_ask(self.settings.lease);
        if claims.is_empty() {
            return Ok(());
        }
        let mut call = self.with_keys(&self.scripts.recover);
        call.arg(&self.consumer).arg(&claims);
        let found = self.run::<Vec<u64>>(&call).await?;
        if !found.is_empty() {
            info!(jobs = found.len(), "jobs of a claim that was not heard of are in line again");
        }
        self.lost.found(&found);
        Ok(())
    }

    /// Once in each lease: makes what is missing, and forgets consumers that are gone.
    async fn look_after(&self) -> Result<(), Error> {
        {
            let mut next = self.look_after.lock().unwrap_or_else(PoisonError::into_inner);
            if Instant::now() < *next {
                return Ok(());
            }
            *next = Instant::now() + self.settings.lease;
        }
        self.found().await.map_err(unavailable)?;
        let long = (self.settings.lease * IDLE_LEASES).as_millis();
        let mut call = self.with_keys(&self.scripts.reap);
        call.arg(u64::try_from(long).unwrap_or(u64::MAX));
        let gone = self.run::<u64>(&call).await?;
        if gone > 0 {
            info!(consumers = gone, "consumers that are gone were forgotten");
        }
        Ok(())
    }
}

#[async_trait]
impl JobQueue for RedisQueue {
    async fn hold_credits(&self, holder: &Holder, want: [usize; 3]) -> Result<Grant, Error> {
        // Counted from before the question, so that it ends here before it ends there.
        let until = Instant::now() + self.settings.credit_ttl;
        let shares = Priority::ALL.map(|priority| priority.share_of(self.settings.capacity));
        let mut call = self.with_keys(&self.scripts.lease);
        call.arg(&*holder.0).arg(micros(self.settings.credit_ttl)).arg(&want).arg(&shares);
        Ok(Grant { held: self.run(&call).await?, until })
    }

    async fn push(&self, job: Job, holder: Option<&Holder>) -> Result<(), Error> {
        let payload = json::to_vec(&job.payload).map_err(unavailable)?;
        let pushed = Pushed { id: job.id, tries: job.tries, payload, holder: holder.cloned() };
        let pushed = (job.priority, Arc::new(pushed));
        let mut taken = self.pushes.push(&self.connections, pushed.clone()).await;
        if taken.as_ref().is_err_and(NoAnswer::is_unfounded) {
            self.found().await.map_err(unavailable)?;
            taken = self.pushes.push(&self.connections, pushed).await;
        }
        if taken.map_err(unavailable)? { Ok(()) } else { Err(Error::Full) }
    }

    async fn claim(&self, max: usize, wait: Duration) -> Result<Vec<Claimed>, Error> {
        if max == 0 {
            return Ok(Vec::new());
        }
        let deadline = Instant::now().checked_add(wait);
        loop {
            let found = self.take(max).await?;
            let left = deadline.map_or(LISTEN, |deadline| deadline.saturating_duration_since(Instant::now()));
            if !found.claimed.is_empty() || left.is_zero() {
                return Ok(found.claimed);
            }
            // A lease that begins while this one listens cannot lapse before a whole lease is over.
            let time = found.next.unwrap_or(LISTEN).min(self.settings.lease).min(left);
            self.connections.listen(self.keys.bell(), time).await.map_err(unavailable)?;
        }
    }

    async fn extend(&self, tickets: &[Ticket]) -> Result<(), Error> {
        self.run_on(&self.scripts.extend, Some(micros(self.settings.lease)), tickets).await
    }

    async fn done(&self, tickets: &[Ticket]) -> Result<(), Error> {
        self.run_on(&self.scripts.done, None, tickets).await
    }

    async fn again(&self, ticket: Ticket, delay: Duration, tried: bool) -> Result<(), Error> {
        self.put_back(&words(&ticket), delay, tried).await
    }

    async fn depth(&self) -> Result<Depth, Error> {
        let counts: Counts = self.run(&self.with_keys(&self.scripts.depth)).await?;
        Ok(answer::depth(&counts))
    }

    async fn incarnation(&self) -> Result<String, Error> {
        // Founding a queue that is there changes nothing, and tells its epoch.
        let epoch = self.found().await.map_err(unavailable)?;
        let run = server::run_id(&self.connections).await.map_err(unavailable)?;
        Ok(format!("{}-{epoch}", run.unwrap_or_default()))
    }
}

impl fmt::Debug for RedisQueue {
    /// Without its URL, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (queue, consumer) = (self.keys.queue(), &self.consumer);
        f.debug_struct("RedisQueue")
            .field("queue", &queue)
            .field("consumer", consumer)
            .field("pool", &self.pool())
            .finish_non_exhaustive()
    }
}

fn unavailable(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Unavailable(Arc::new(error))
}

/// The queue cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It is not one.
    #[error("read the URL of Redis")]
    Url(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A name of no characters, or with braces in it.
    #[error("the queue's name must not be empty, nor have braces: {name:?}")]
    Name {
        /// The name.
        name: String,
    },
    /// Its settings do not fit.
    #[error("make a pool of connections")]
    Pool(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It does not answer.
    #[error("reach Redis")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Scripts need more.
    #[error("Redis is {version}, and must be 7.0 or later")]
    TooOld {
        /// What it is.
        version: String,
    },
    /// It would throw away what is queued when its memory is full.
    #[error("Redis has maxmemory-policy {policy}, and must have noeviction: else it throws queued jobs away")]
    Evicts {
        /// What it has.
        policy: String,
    },
}
