//! Who leads, by a lock that lasts as long as a transaction, on a connection that is used for nothing else. The transaction has no
//! snapshot, so it keeps nothing from being cleaned up; and it goes through a PgBouncer, which gives a transaction one connection.

use std::time::Duration;

use async_trait::async_trait;
use deadpool_postgres::ClientWrapper;
use tokio_postgres::types::Type;

use super::{PostgresMeta, fault::Fault, locks, rows, server::Mode, transaction::Statement};
use crate::meta::{Error, Lead, Leaders};

const TRY: &str = "SELECT pg_try_advisory_xact_lock($1)";

/// How long the server has to say that it is there.
const ANSWER: Duration = Duration::from_secs(5);

#[async_trait]
impl Leaders for PostgresMeta {
    async fn lead(&self, role: &str) -> Result<Option<Box<dyn Lead>>, Error> {
        let mut transaction = self.writer()?.begin(Mode::Lead).await?;
        let values = [(&locks::of_role(role) as _, Type::INT8)];
        let [granted] = transaction.say([Statement { sql: TRY, values: &values }]).await?;
        if !granted.first().map(|row| rows::get::<bool>(row, 0)).transpose()?.unwrap_or_default() {
            transaction.end(&[]).await?;
            return Ok(None);
        }
        let connection = transaction.keep().ok_or(Fault::Overtaken)?;
        Ok(Some(Box::new(Held { connection })))
    }
}

/// The lock. Dropping it closes the connection, and the server gives it to the next.
#[derive(Debug)]
struct Held {
    connection: ClientWrapper,
}

#[async_trait]
impl Lead for Held {
    async fn stands(&self) -> bool {
        // A connection that is lost is never made anew, and with it went the lock.
        matches!(tokio::time::timeout(ANSWER, self.connection.batch_execute("SELECT")).await, Ok(Ok(())))
    }
}
