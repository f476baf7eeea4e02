//! A bounded pool of connections that read, each call in one snapshot, off the runtime's threads. A caller that gives up, or is
//! dropped with its request, takes its query with it: it is interrupted, so that nobody pays for an answer that nobody hears.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rusqlite::{Connection, InterruptHandle, Transaction, TransactionBehavior};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::{Deadlines, Error, OpenError, check_version, open_to_read};

/// Connections that read. They are opened when they are needed, and kept.
#[derive(Debug)]
pub struct Readers {
    places: Arc<Semaphore>,
    pool: Arc<Pool>,
    deadlines: Deadlines,
}

#[derive(Debug)]
struct Pool {
    path: PathBuf,
    version: usize,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    /// Up to `size` connections to the file at `path`, whose tables must have `version`. The first is opened now.
    ///
    /// # Errors
    /// When there is no such file, or its tables have another version.
    pub fn open(path: &Path, version: usize, size: usize, deadlines: Deadlines) -> Result<Self, OpenError> {
        let pool = Pool { path: path.to_owned(), version, idle: Mutex::default() };
        let first = pool.connect()?;
        pool.lock().push(first);
        Ok(Self { places: Arc::new(Semaphore::new(size.max(1))), pool: Arc::new(pool), deadlines })
    }

    /// Runs `work` in one snapshot.
    ///
    /// # Errors
    /// What `work` said, or that a deadline passed.
    pub async fn call<T, W>(&self, work: W) -> Result<T, Error>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let Deadlines { turn, answer: patience } = self.deadlines;
        let place = timeout(turn, Arc::clone(&self.places).acquire_owned())
            .await
            .map_err(|_| Error::Busy(turn))?
            .map_err(|_| Error::Closed)?;
        let query = Arc::new(Query::default());
        let _interrupted_when_dropped = Caller(Arc::clone(&query));
        let pool = Arc::clone(&self.pool);
        let answer = tokio::task::spawn_blocking(move || pool.run(work, &query, place));
        timeout(patience, answer).await.map_err(|_| Error::Late(patience))?.map_err(|_| Error::Closed)?
    }
}

impl Pool {
    fn run<T>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
        query: &Query,
        place: OwnedSemaphorePermit,
    ) -> Result<T, Error> {
        let idle = self.lock().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => self.connect().map_err(|error| Error::Open(Arc::new(error)))?,
        };
        if !query.begin(&connection) {
            self.lock().push(connection);
            return Err(Error::Closed);
        }
        let snapshot = Transaction::new_unchecked(&connection, TransactionBehavior::Deferred)?;
        let answer = work(&snapshot);
        drop(snapshot);
        query.end();
        // After an error the next one gets a new connection: the file may have been replaced, or the disk be back.
        if answer.is_ok() {
            self.lock().push(connection);
        }
        drop(place);
        Ok(answer?)
    }

    fn connect(&self) -> Result<Connection, OpenError> {
        let connection = open_to_read(&self.path)?;
        check_version(&connection, self.version)?;
        Ok(connection)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How far a call has come; both its caller and its thread look at it.
#[derive(Default)]
struct Query(Mutex<Progress>);

#[derive(Default)]
enum Progress {
    #[default]
    Waiting,
    Running(InterruptHandle),
    Over,
}

impl Query {
    /// Says whether the caller is still there.
    fn begin(&self, connection: &Connection) -> bool {
        let mut progress = self.lock();
        let wanted = matches!(*progress, Progress::Waiting);
        if wanted {
            *progress = Progress::Running(connection.get_interrupt_handle());
        }
        wanted
    }

    /// From now on the connection is another's and must not be interrupted.
    fn end(&self) {
        *self.lock() = Progress::Over;
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The caller's end of a query.
struct Caller(Arc<Query>);

impl Drop for Caller {
    fn drop(&mut self) {
        let mut progress = self.0.lock();
        if let Progress::Running(handle) = &*progress {
            handle.interrupt();
        }
        *progress = Progress::Over;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::sqlite::{Synchronous, open};

    /// Runs for hours if nobody stops it.
    const ENDLESS: &str =
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n";

    fn readers(folder: &tempfile::TempDir, size: usize, deadlines: Deadlines) -> Readers {
        let path = folder.path().join("test.db");
        open(&path, Synchronous::Normal, &["CREATE TABLE t (n)"]).unwrap();
        Readers::open(&path, 1, size, deadlines).unwrap()
    }

    fn endless(connection: &Connection) -> rusqlite::Result<i64> {
        connection.query_row(ENDLESS, [], |row| row.get(0))
    }

    #[tokio::test]
    async fn a_query_that_takes_too_long_is_interrupted_and_gives_its_place_back() {
        let folder = tempfile::tempdir().unwrap();
        let deadlines = Deadlines { turn: Duration::from_secs(10), answer: Duration::from_millis(100) };
        let readers = readers(&folder, 1, deadlines);
        let late = readers.call(endless).await;
        assert!(matches!(late, Err(Error::Late(_))), "{late:?}");
        // The only place is free again, so the query has ended.
        drop(timeout(Duration::from_secs(10), readers.places.acquire()).await.unwrap().unwrap());
    }

    #[tokio::test]
    async fn more_callers_than_connections_wait_and_then_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let deadlines = Deadlines { turn: Duration::from_millis(50), answer: Duration::from_millis(500) };
        let readers = readers(&folder, 1, deadlines);
        let (first, second) = tokio::join!(readers.call(endless), readers.call(|_| Ok(())));
        assert!(matches!(first, Err(Error::Late(_))), "{first:?}");
        assert!(matches!(second, Err(Error::Busy(_))), "{second:?}");
    }

    #[tokio::test]
    async fn nothing_can_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let deadlines = Deadlines { turn: Duration::from_secs(10), answer: Duration::from_secs(10) };
        let readers = readers(&folder, 1, deadlines);
        let written = readers.call(|connection| connection.execute("INSERT INTO t VALUES (1)", [])).await;
        assert!(matches!(written, Err(Error::Sqlite(_))), "{written:?}");
    }

    #[test]
    fn tables_of_another_version_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test.db");
        open(&path, Synchronous::Normal, &["CREATE TABLE t (n)"]).unwrap();
        let deadlines = Deadlines { turn: Duration::ZERO, answer: Duration::ZERO };
        let open_as = |version| Readers::open(&path, version, 1, deadlines).map(drop);
        assert!(matches!(open_as(0), Err(OpenError::Newer { version: 1, known: 0 })));
        assert!(matches!(open_as(2), Err(OpenError::Older { version: 1, known: 2 })));
    }
}
