//! A server that follows the primary and answers in its place. One that fails is left alone for a while, so that it costs only a few
//! readers the time to find out.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use tokio_postgres::Row;

use super::{
    fault::Fault,
    server::{Mode, Server},
    transaction::Value,
};

/// How long a replica that failed is left alone.
const AWAY: Duration = Duration::from_secs(10);

/// The replica.
#[derive(Debug)]
pub(super) struct Replica {
    pub(super) server: Server,
    away_until: Mutex<Option<Instant>>,
}

impl Replica {
    pub(super) fn new(server: Server) -> Self {
        Self { server, away_until: Mutex::new(None) }
    }

    /// Its answer; `None` when it has none, and another must be asked.
    pub(super) async fn ask(&self, sql: &str, values: &[Value<'_>]) -> Option<Vec<Row>> {
        if self.away().is_some_and(|until| Instant::now() < until) {
            return None;
        }
        let answer = self.server.ask(Mode::Read, sql, values).await;
        if answer.as_ref().is_err_and(|fault: &Fault| !fault.leaves_the_connection()) {
            *self.away_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + AWAY);
        }
        answer.ok()
    }

    fn away(&self) -> Option<Instant> {
        *self.away_until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
