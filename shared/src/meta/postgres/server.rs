//! A database server, by its pool of connections. Nothing here waits for ever: neither for a connection nor for an answer, whether
//! the server is slow, gone, or stopped in its tracks.

use std::time::Duration;

use deadpool_postgres::{
    ClientWrapper, Manager, ManagerConfig, Object, Pool, PoolConfig, RecyclingMethod, Runtime, Timeouts,
};
use tokio::time::Instant;
use tokio_postgres::Row;

use super::{
    OpenError, Options,
    address::Address,
    fault::Fault,
    retry::Tries,
    tls,
    transaction::{Deadline, Statement, Transaction, Value},
};
use crate::{resilience::Guard, telemetry::pool::PoolState};

/// Beyond the server's own timeout, so that its answer (which error it was) comes first.
const GRACE: Duration = Duration::from_secs(1);

/// What a transaction is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mode {
    /// To change something. Each statement sees what was committed before it.
    Write,
    /// To look something up.
    Read,
    /// To read much, of one moment.
    Audit,
    /// To hold a lock until somebody ends it.
    Lead,
}

/// A server.
#[derive(Debug)]
pub(super) struct Server {
    pool: Pool,
    begin: [String; 4],
    within: Duration,
    guard: Guard,
}

/// How long an audit may take: it reads everything.
const AUDIT_TIMEOUT: Duration = Duration::from_secs(1800);

impl Server {
    /// Makes the pool; connects to nobody yet.
    pub(super) fn new(url: &str, options: &Options) -> Result<Self, OpenError> {
        let mut address = Address::parse(url)?;
        bound(&mut address.config, options);
        let tls = tls::connector(&address)?;
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let timeouts = Timeouts {
            wait: Some(options.acquire_timeout),
            create: Some(options.acquire_timeout),
            recycle: Some(options.acquire_timeout),
        };
        let config = PoolConfig { timeouts, ..PoolConfig::new(options.pool.max(1)) };
        let pool = Pool::builder(Manager::from_config(address.config, tls, recycling))
            .config(config)
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| OpenError::Url(error.into()))?;
        let modes = [Mode::Write, Mode::Read, Mode::Audit, Mode::Lead];
        let begin = modes.map(|mode| begin(mode, options.statement_timeout));
        Ok(Self {
            pool,
            begin,
            within: options.acquire_timeout + options.statement_timeout + GRACE,
            guard: options.guard.clone(),
        })
    }

    /// By when a call that begins now must have ended.
    pub(super) fn deadline(&self, mode: Mode) -> Deadline {
        Deadline::within(if mode == Mode::Audit { AUDIT_TIMEOUT + GRACE } else { self.within })
    }

    /// Begins a transaction.
    pub(super) async fn begin(&self, mode: Mode) -> Result<Transaction<'_>, Fault> {
        self.begin_by(mode, self.deadline(mode)).await
    }

    /// Begins a transaction that must have ended by `deadline`.
    pub(super) async fn begin_by(&self, mode: Mode, deadline: Deadline) -> Result<Transaction<'_>, Fault> {
        let call = self.guard.enter()?;
        let begin = self.begin.get(mode as usize).map_or("BEGIN", String::as_str);
        let begun = Instant::now();
        let got = deadline.wait(self.pool.get()).await;
        self.guard.waited(begun);
        match got {
            Ok(connection) => Ok(Transaction::new(connection, begin, deadline, call)),
            Err(fault) => {
                call.ended(false);
                Err(fault)
            }
        }
    }

    /// Says one statement in a transaction of its own.
    pub(super) async fn ask(&self, mode: Mode, sql: &str, values: &[Value<'_>]) -> Result<Vec<Row>, Fault> {
        let transaction = self.begin(mode).await?;
        Ok(transaction.end(&[Statement { sql, values }]).await?.pop().unwrap_or_default())
    }

    /// A connection outside of the pool's bound, for who keeps it long.
    pub(super) async fn connection(&self) -> Result<ClientWrapper, Fault> {
        Ok(Object::take(self.deadline(Mode::Read).wait(self.pool.get()).await?))
    }

    /// The tries of a call that begins now.
    pub(super) fn tries(&self, mode: Mode) -> Tries {
        Tries::by(self.deadline(mode), self.guard.clone())
    }

    pub(super) fn pool(&self) -> PoolState {
        let status = self.pool.status();
        PoolState {
            size: status.size,
            available: status.available,
            waiting: status.waiting,
            max: status.max_size,
        }
    }
}

/// Has a connection found out whose other end is gone. Where the address says how long to wait, it is believed, but for keepalives:
/// the driver does not tell whether it said anything of them.
fn bound(config: &mut tokio_postgres::Config, options: &Options) {
    config.keepalives(true);
    config.keepalives_idle(Duration::from_secs(15));
    config.keepalives_interval(Duration::from_secs(5));
    config.keepalives_retries(3);
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(options.acquire_timeout);
    }
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(options.statement_timeout + GRACE);
    }
    if config.get_application_name().is_none() {
        config.application_name("headworks");
    }
}

/// How a transaction begins. Its timeouts are the server's own: a lock is waited for half as long as a statement may take, so that
/// who waits learns why. The level is said, since the order in which a batch locks and looks relies on it.
fn begin(mode: Mode, statement_timeout: Duration) -> String {
    let ms = statement_timeout.as_millis();
    let timeouts = |ms: u128| {
        format!(
            "SET LOCAL statement_timeout = {ms}; SET LOCAL lock_timeout = {}; \
             SET LOCAL idle_in_transaction_session_timeout = {ms}",
            ms.div_ceil(2)
        )
    };
    match mode {
        Mode::Write => {
            format!("BEGIN ISOLATION LEVEL READ COMMITTED; {}; {SYNCHRONOUS}", timeouts(ms))
        }
        Mode::Read => format!("BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY; {}", timeouts(ms)),
        Mode::Audit => {
            let long = timeouts(AUDIT_TIMEOUT.as_millis());
            format!("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {long}")
        }
        Mode::Lead => format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY; SET LOCAL statement_timeout = {ms}; \
             SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL tcp_keepalives_idle = 15; \
             SET LOCAL tcp_keepalives_interval = 5; SET LOCAL tcp_keepalives_count = 3"
        ),
    }
}

/// A commit that was answered is on the disk, even where the role or the server were told not to wait for it. Any other setting is
/// kept: `remote_apply` waits for more, `local` for as much as a server can promise by itself.
const SYNCHRONOUS: &str = "SELECT set_config('synchronous_commit', 'on', true) \
    WHERE current_setting('synchronous_commit') = 'off'";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_transaction_brings_its_timeouts() {
        for mode in [Mode::Write, Mode::Read, Mode::Audit, Mode::Lead] {
            let begin = begin(mode, Duration::from_millis(1001));
            let word = if mode == Mode::Audit {
                "statement_timeout = 1800000;"
            } else {
                "statement_timeout = 1001;"
            };
            assert!(begin.starts_with("BEGIN ISOLATION LEVEL ") && begin.contains(word), "{begin}");
            assert!(begin.contains("SET LOCAL idle_in_transaction_session_timeout"), "{begin}");
        }
        assert!(begin(Mode::Write, Duration::from_millis(1001)).contains("lock_timeout = 501;"));
    }
}
