//! Connections: a pool for commands, another for those who wait for the bell, and a deadline on everything.

use std::{future::Future, sync::Arc, time::Duration};

use deadpool::{
    Runtime,
    managed::{self, Object, PoolError},
};
use deadpool_redis::{
    Manager,
    redis::{
        self, AsyncConnectionConfig, Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, RedisResult,
        ScriptInvocation, ServerErrorKind,
    },
};
use tokio::time::{Instant, timeout};

use super::{OpenError, trusted::Trusted};
use crate::{
    resilience::{Guard, Open},
    telemetry::pool::PoolState,
};

type Pool = managed::Pool<Trusted>;
type Connection = Object<Trusted>;

/// The longest that a waiter listens before it looks again by itself: so long may a ring be missed whose hearer was cut off.
pub(super) const LISTEN: Duration = Duration::from_secs(1);

/// Both pools.
pub(super) struct Connections {
    commands: Pool,
    /// A blocking read keeps its connection to itself, and its answer may take as long as it blocks.
    ears: Pool,
    deadline: Duration,
    guard: Guard,
}

/// Redis did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAnswer {
    #[error("no answer from Redis within {0:?}")]
    Late(Duration),
    #[error("connect to Redis")]
    Connect(#[source] PoolError<RedisError>),
    #[error("ask Redis")]
    Ask(#[source] RedisError),
    #[error("{answers} answers for {jobs} jobs")]
    Miscounted { answers: usize, jobs: usize },
    /// Of a call that was made for several.
    #[error(transparent)]
    OfAll(Arc<NoAnswer>),
    #[error(transparent)]
    Resting(#[from] Open),
}

impl NoAnswer {
    /// Whether it says that Redis is not well.
    fn is_failure(&self) -> bool {
        match self {
            Self::Late(_) | Self::Connect(_) | Self::Miscounted { .. } => true,
            // These are answers. When its memory is full it takes no more, but still gives what it has.
            Self::Ask(error) => {
                !error.code().is_some_and(|code| matches!(code, "UNFOUNDED" | "NOGROUP" | "NOSCRIPT" | "OOM"))
            }
            Self::OfAll(error) => error.is_failure(),
            Self::Resting(_) => false,
        }
    }

    /// Whether Redis has never seen the question.
    pub(super) fn was_not_sent(&self) -> bool {
        matches!(self, Self::Connect(_) | Self::Resting(_))
    }

    /// Whether the queue has to be founded first: its epoch or a group is gone.
    pub(super) fn is_unfounded(&self) -> bool {
        match self {
            Self::Ask(error) => matches!(error.code(), Some("UNFOUNDED" | "NOGROUP")),
            Self::OfAll(error) => error.is_unfounded(),
            _ => false,
        }
    }
}

impl Connections {
    /// Two pools of at most `size` connections each, made when they are needed.
    pub(super) fn new(url: &str, size: usize, deadline: Duration, guard: Guard) -> Result<Self, OpenError> {
        if url.starts_with("rediss:") {
            // Whoever came first chose the same one.
            drop(rustls::crypto::ring::default_provider().install_default());
        }
        Ok(Self {
            commands: pool(url, size, deadline, deadline)?,
            ears: pool(url, size, deadline, deadline + LISTEN)?,
            deadline,
            guard,
        })
    }

    /// Runs a script.
    pub(super) fn invoke<T: FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
    ) -> impl Future<Output = Result<T, NoAnswer>> {
        self.in_time(self.send(script))
    }

    /// Runs a script for several, each of whom [waits for it](Self::in_time): it has no deadline of its own.
    pub(super) async fn send<T: FromRedisValue>(&self, script: &ScriptInvocation<'_>) -> Result<T, NoAnswer> {
        let begun = Instant::now();
        let mut connection = self.commands.get().await.map_err(NoAnswer::Connect)?;
        self.guard.waited(begun);
        let answer = script.invoke_async(&mut *connection).await;
        self.keep_or_drop(connection, answer)
    }

    /// Runs commands.
    pub(super) async fn query<T: FromRedisValue>(&self, commands: &Pipeline) -> Result<T, NoAnswer> {
        self.within(self.deadline, async {
            let begun = Instant::now();
            let mut connection = self.commands.get().await.map_err(NoAnswer::Connect)?;
            self.guard.waited(begun);
            let answer = commands.query_async(&mut *connection).await;
            self.keep_or_drop(connection, answer)
        })
        .await
    }

    /// Listens to the bell for `time`, which [`LISTEN`] cuts short; rung or not, there may be something.
    pub(super) async fn listen(&self, bell: &str, time: Duration) -> Result<(), NoAnswer> {
        // To Redis zero is for ever.
        let time = time.clamp(Duration::from_millis(1), LISTEN);
        let command = Cmd::new().arg("BLPOP").arg(bell).arg(time.as_secs_f64()).to_owned();
        self.within(time + self.deadline, async {
            let mut ear = Ear(Some(self.ears.get().await.map_err(NoAnswer::Connect)?));
            ear.listen(&command).await.map_err(NoAnswer::Ask)
        })
        .await
    }

    /// How the pool of commands is used.
    pub(super) fn state(&self) -> PoolState {
        let status = self.commands.status();
        PoolState {
            size: status.size,
            available: status.available,
            waiting: status.waiting,
            max: status.max_size,
        }
    }

    /// A connection that failed, or leads to a server that is not the one to write to any more, does not go back into the pool.
    fn keep_or_drop<T>(&self, connection: Connection, answer: RedisResult<T>) -> Result<T, NoAnswer> {
        answer.map_err(|error| {
            let read_only = error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly);
            if error.is_io_error() || error.is_unrecoverable_error() || read_only {
                self.commands.manager().doubt();
                drop(Connection::take(connection));
            }
            NoAnswer::Ask(error)
        })
    }

    /// Waits no longer than for an answer, and counts what comes of it.
    pub(super) fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, NoAnswer>>,
    ) -> impl Future<Output = Result<T, NoAnswer>> {
        self.within(self.deadline, work)
    }

    async fn within<T>(
        &self,
        deadline: Duration,
        work: impl Future<Output = Result<T, NoAnswer>>,
    ) -> Result<T, NoAnswer> {
        let call = self.guard.enter()?;
        let answer = timeout(deadline, work).await.unwrap_or_else(|_| {
            self.commands.manager().doubt();
            Err(NoAnswer::Late(self.deadline))
        });
        call.ended(!answer.as_ref().is_err_and(NoAnswer::is_failure));
        answer
    }
}

fn pool(url: &str, size: usize, deadline: Duration, response: Duration) -> Result<Pool, OpenError> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(deadline))
        .set_response_timeout(Some(response));
    let manager = Manager::new_with_config(url, config).map_err(|source| OpenError::Url(Box::new(source)))?;
    Pool::builder(Trusted::new(manager))
        .max_size(size.max(1))
        .wait_timeout(Some(deadline))
        .create_timeout(Some(deadline))
        .recycle_timeout(Some(deadline))
        .runtime(Runtime::Tokio1)
        .build()
        .map_err(|source| OpenError::Pool(Box::new(source)))
}

/// A connection that may be blocked. Cut off before the answer it is closed, so that it takes no ring that nobody hears.
struct Ear(Option<Connection>);

impl Ear {
    async fn listen(&mut self, command: &Cmd) -> RedisResult<()> {
        let Some(connection) = &mut self.0 else { return Ok(()) };
        command.query_async::<redis::Value>(&mut **connection).await?;
        // Back into the pool.
        self.0 = None;
        Ok(())
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            drop(Connection::take(connection));
        }
    }
}
