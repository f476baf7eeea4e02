//! Transactions. Each brings its settings along (`SET LOCAL`) and leaves nothing behind, and no statement outlives it: so they work
//! through a PgBouncer that gives every transaction another connection.
//!
//! Statements that do not need each other's answers go in one flight: BEGIN with the first, COMMIT with the last. A statement that
//! fails makes those behind it fail, and the COMMIT a ROLLBACK.

use std::time::Duration;

use deadpool_postgres::Object;
use futures_util::future::{join_all, join3};
use tokio::time::{Instant, timeout_at};
use tokio_postgres::{
    Row, RowStream,
    types::{ToSql, Type},
};

use super::fault::Fault;
use crate::resilience::Call;

/// A value with its type.
pub(super) type Value<'a> = (&'a (dyn ToSql + Sync), Type);

/// A statement with its values; planned when it is said, with these values.
#[derive(Clone, Copy)]
pub(super) struct Statement<'a> {
    pub(super) sql: &'a str,
    pub(super) values: &'a [Value<'a>],
}

/// By when a transaction must have ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    pub(super) at: Instant,
    pub(super) within: Duration,
}

impl Deadline {
    pub(super) fn within(within: Duration) -> Self {
        Self { at: Instant::now() + within, within }
    }

    /// Waits for an answer, but not longer.
    pub(super) async fn wait<T, E: Into<Fault>>(
        self,
        answer: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Fault> {
        match timeout_at(self.at, answer).await {
            Ok(answer) => answer.map_err(Into::into),
            Err(_) => Err(Fault::Late(self.within)),
        }
    }
}

/// A transaction. Unless it ends by [`Transaction::end`] its connection is closed, which rolls it back.
pub(super) struct Transaction<'a> {
    connection: Connection,
    begin: Option<&'a str>,
    deadline: Deadline,
    call: Option<Call<'a>>,
}

impl<'a> Transaction<'a> {
    /// A transaction that begins, as `begin` says, with its first flight.
    pub(super) fn new(connection: Object, begin: &'a str, deadline: Deadline, call: Call<'a>) -> Self {
        Self { connection: Connection(Some(connection)), begin: Some(begin), deadline, call: Some(call) }
    }

    pub(super) fn deadline(&self) -> Deadline {
        self.deadline
    }

    /// Says statements in one flight, and answers with the rows of each.
    pub(super) async fn say<const N: usize>(
        &mut self,
        statements: [Statement<'_>; N],
    ) -> Result<[Vec<Row>; N], Fault> {
        let said = self.fly(&statements, false).await;
        match said {
            Ok(rows) => Ok(all(rows)),
            Err(fault) => Err(self.roll_back(fault).await),
        }
    }

    /// Says the last statements and commits, in one flight.
    pub(super) async fn end(mut self, statements: &[Statement<'_>]) -> Result<Vec<Vec<Row>>, Fault> {
        let said = self.fly(statements, true).await;
        match &said {
            // A COMMIT behind a failure was a ROLLBACK.
            Ok(_) => self.connection.give_back(),
            Err(fault) if fault.leaves_the_connection() => self.connection.give_back(),
            Err(_) => {}
        }
        said
    }

    /// Says one statement, and hands out its rows as they come.
    pub(super) async fn stream(&mut self, sql: &str) -> Result<RowStream, Fault> {
        if self.begin.is_some() {
            self.fly(&[], false).await?;
        }
        let Some(client) = &self.connection.0 else { return Err(Fault::Overtaken) };
        let none: [(i64, Type); 0] = [];
        self.deadline.wait(client.query_typed_raw(sql, none)).await
    }

    /// Takes the connection out of its pool, with the transaction open.
    pub(super) fn keep(mut self) -> Option<deadpool_postgres::ClientWrapper> {
        self.connection.0.take().map(Object::take)
    }

    async fn fly(&mut self, statements: &[Statement<'_>], last: bool) -> Result<Vec<Vec<Row>>, Fault> {
        let Some(client) = &self.connection.0 else { return Err(Fault::Overtaken) };
        let begin = self.begin.take();
        // They are sent in the order in which they are polled first.
        let begun = async {
            match begin {
                Some(begin) => client.batch_execute(begin).await,
                None => Ok(()),
            }
        };
        let said =
            join_all(statements.iter().map(|statement| client.query_typed(statement.sql, statement.values)));
        let ended = async { if last { client.batch_execute("COMMIT").await } else { Ok(()) } };
        let flight = async {
            let (begun, said, ended) = join3(begun, said, ended).await;
            begun?;
            let rows: Vec<_> = said.into_iter().collect::<Result<_, _>>()?;
            ended.map(|()| rows)
        };
        let flown = self.deadline.wait(flight).await;
        // The database has shown how it is with the first flight that fails, or the last.
        let failed = flown.as_ref().is_err_and(|fault| !fault.leaves_the_connection());
        if let Some(call) = self.call.take_if(|_| last || failed) {
            call.ended(!failed);
        }
        flown
    }

    /// Saves the connection from a transaction that failed; hands the fault back.
    async fn roll_back(&mut self, fault: Fault) -> Fault {
        if fault.leaves_the_connection()
            && let Some(client) = &self.connection.0
            && self.deadline.wait(client.batch_execute("ROLLBACK")).await.is_ok()
        {
            self.connection.give_back();
        }
        fault
    }
}

/// As many answers as there were statements.
fn all<const N: usize>(rows: Vec<Vec<Row>>) -> [Vec<Row>; N] {
    let mut rows = rows.into_iter();
    std::array::from_fn(|_| rows.next().unwrap_or_default())
}

/// A connection within a transaction. Nobody gets it who does not know that: it goes back to the pool by
/// [`Connection::give_back`], or not at all.
struct Connection(Option<Object>);

impl Connection {
    fn give_back(&mut self) {
        self.0 = None;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        drop(self.0.take().map(Object::take));
    }
}
