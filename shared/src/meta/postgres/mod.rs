//! Metadata in PostgreSQL (14 or later), for any number of processes at once; directly, or through a PgBouncer in transaction mode.
//!
//! Every call is one transaction, or a few short ones; none waits without a deadline. What was answered is on the server's disk.

mod address;
mod audit;
mod catalog;
mod dead_letters;
mod delete;
mod events;
mod fault;
mod leaders;
mod ledger;
mod locks;
mod migrate;
mod outbox;
mod persist;
mod prune;
mod relay;
mod replica;
mod retry;
mod rows;
mod server;
mod settle;
mod tls;
mod transaction;

use std::time::Duration;

use tokio_postgres::Row;
use tracing::warn;

use crate::{resilience::Guard, telemetry::pool::PoolState};
use fault::Fault;
use replica::Replica;
use server::{Mode, Server};
use transaction::{Statement, Value};

const SERVER: &str =
    "SELECT current_setting('server_version_num')::bigint, current_setting('server_encoding'),
    current_setting('fsync') = 'on'";

const KNOWS_UPLOADS: &str = "SELECT EXISTS (SELECT 1 FROM ledger)";

/// The oldest server whose SQL is spoken here.
const OLDEST_SERVER: i64 = 140_000;

/// Metadata in PostgreSQL.
#[derive(Debug)]
pub struct PostgresMeta {
    primary: Server,
    replica: Option<Replica>,
    writable: bool,
    knows_uploads: bool,
}

/// How a server is used.
#[derive(Clone, Debug)]
pub struct Options {
    /// The most connections; the replica has as many of its own. Whoever leads has one beyond them.
    pub pool: usize,
    /// The longest wait for one of them.
    pub acquire_timeout: Duration,
    /// The longest that a statement may take; it waits half as long for a lock. No call takes longer than this and
    /// `acquire_timeout` together, and a second; but an audit, which reads everything and has half an hour, and `prune`, whose
    /// steps are calls of their own.
    pub statement_timeout: Duration,
    /// The URL of a server that follows the primary and answers the catalog's questions, some moments late.
    pub replica: Option<String>,
    /// Whether opening brings the tables up to date. Otherwise it only looks whether they are.
    pub migrate: bool,
    /// Guards and counts the calls.
    pub guard: Guard,
}

impl PostgresMeta {
    /// Connects to the server at `url` (`postgres://user:password@host/database`), and brings the tables up to date or makes sure
    /// that they are. Several hosts may be named, as in libpq. `sslmode` is `disable`, `prefer`, `require` (encrypts, and takes any
    /// certificate) or `verify-full` (by the machine's authorities, or those in `sslrootcert`).
    ///
    /// # Errors
    /// When the URL is wrong, the server cannot be reached or is too old, or its tables are of another version.
    pub async fn open(url: &str, options: &Options) -> Result<Self, OpenError> {
        let mut opened = Self::connect(url, options, true).await?;
        if options.migrate {
            migrate::migrate(&opened.primary).await?;
        }
        migrate::check(&opened.primary).await?;
        let knows = opened.primary.ask(Mode::Read, KNOWS_UPLOADS, &[]).await?;
        opened.knows_uploads = knows.first().map(|row| rows::get(row, 0)).transpose()?.unwrap_or_default();
        Ok(opened)
    }

    /// Connects to read only: whatever would write is an error.
    ///
    /// # Errors
    /// As [`PostgresMeta::open`].
    pub async fn open_to_read(url: &str, options: &Options) -> Result<Self, OpenError> {
        let opened = Self::connect(url, options, false).await?;
        migrate::check(&opened.primary).await?;
        Ok(opened)
    }

    /// Whether the ledger knew any upload when it was opened to be written.
    pub fn knows_uploads(&self) -> bool {
        self.knows_uploads
    }

    /// How the primary's pool stands.
    pub fn pool(&self) -> PoolState {
        self.primary.pool()
    }

    /// How the replica's pool stands, if there is one.
    pub fn replica_pool(&self) -> Option<PoolState> {
        self.replica.as_ref().map(|replica| replica.server.pool())
    }

    async fn connect(url: &str, options: &Options, writable: bool) -> Result<Self, OpenError> {
        let primary = Server::new(url, options)?;
        let replica = options.replica.as_deref().map(|url| Server::new(url, options)).transpose()?;
        fits(&primary).await?;
        Ok(Self { primary, replica: replica.map(Replica::new), writable, knows_uploads: false })
    }

    fn writer(&self) -> Result<&Server, Fault> {
        if self.writable { Ok(&self.primary) } else { Err(Fault::ReadOnly) }
    }

    /// Says one statement that changes something, again if need be.
    async fn change(&self, sql: &str, values: &[Value<'_>]) -> Result<Vec<Row>, Fault> {
        let server = self.writer()?;
        let mut tries = server.tries(Mode::Write);
        loop {
            let transaction = server.begin_by(Mode::Write, tries.deadline).await?;
            match transaction.end(&[Statement { sql, values }]).await {
                Err(fault) if tries.again(&fault).await => {}
                outcome => return Ok(outcome?.pop().unwrap_or_default()),
            }
        }
    }
}

/// Brings the tables at `url` up to date, and does nothing else. Of many who do it at once, one does.
///
/// # Errors
/// As [`PostgresMeta::open`].
pub async fn migrate(url: &str, options: &Options) -> Result<(), OpenError> {
    let server = Server::new(url, options)?;
    fits(&server).await?;
    migrate::migrate(&server).await
}

/// Looks whether the server can keep what is promised.
async fn fits(server: &Server) -> Result<(), OpenError> {
    let answer = server.ask(Mode::Read, SERVER, &[]).await?;
    let Some(row) = answer.first() else { return Ok(()) };
    let (version, encoding): (i64, &str) = (rows::get(row, 0)?, rows::get(row, 1)?);
    if version < OLDEST_SERVER {
        return Err(OpenError::Server { version });
    }
    if encoding != "UTF8" {
        return Err(OpenError::Encoding { encoding: encoding.to_owned() });
    }
    if !rows::get::<bool>(row, 2)? {
        warn!("the database runs with fsync = off: what was acknowledged does not survive a power cut");
    }
    Ok(())
}

/// The database cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It is not addressed as it should be.
    #[error("read the database's URL")]
    Url(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It cannot be reached, or says no.
    #[error("reach the database")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Its server is older than 14.
    #[error("the server's version is {version}; 140000 (PostgreSQL 14) is the oldest")]
    Server {
        /// As `server_version_num` says.
        version: i64,
    },
    /// It does not keep every text.
    #[error("the database's encoding is {encoding}; it must be UTF8")]
    Encoding {
        /// As `server_encoding` says.
        encoding: String,
    },
    /// It was made by a newer Headworks.
    #[error("the database has version {found}; this Headworks knows up to {known}")]
    Newer {
        /// Its version.
        found: usize,
        /// Ours.
        known: usize,
    },
    /// It has not been brought up to date.
    #[error("the database has version {found}; it must be migrated to {known}")]
    Older {
        /// Its version.
        found: usize,
        /// Ours.
        known: usize,
    },
}

impl OpenError {
    fn url(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Url(error.into())
    }
}

impl From<Fault> for OpenError {
    fn from(fault: Fault) -> Self {
        Self::Unreachable(Box::new(fault))
    }
}
