//! The one thread that writes. It takes what is waiting, runs each request in its own savepoint inside one transaction, commits
//! once, and answers all: under load a sync is shared by many (group commit), and one request's error is its own.

use std::{fmt, sync::Arc, thread};

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::{sync::oneshot, time::timeout};

use super::{Deadlines, Error, OpenError};

/// The most requests in one transaction; more would make the first one wait for too long.
const MAX_GROUP: usize = 32;

/// The most requests in line. Whoever comes then waits for a place, up to [`Deadlines::turn`].
const MAX_LINE: usize = 64;

/// Hands requests to the thread that writes. Dropping it ends the thread, and waits for the transaction in progress.
pub struct Writer {
    line: async_channel::Sender<Box<dyn Request>>,
    thread: Option<thread::JoinHandle<()>>,
    deadlines: Deadlines,
}

impl Writer {
    /// Starts the thread, which owns `connection` from then on.
    ///
    /// # Errors
    /// When the machine gives no thread.
    pub fn start(connection: Connection, name: &str, deadlines: Deadlines) -> Result<Self, OpenError> {
        let (line, requests) = async_channel::bounded(MAX_LINE);
        let serve = move || serve(&connection, &requests);
        let thread = thread::Builder::new().name(name.to_owned()).spawn(serve)?;
        Ok(Self { line, thread: Some(thread), deadlines })
    }

    /// Runs `work` inside a transaction, and answers when it is committed. Work that fails is rolled back; work whose caller has
    /// gone before its turn is not begun.
    ///
    /// # Errors
    /// What `work` said, or why the commit failed, or that a deadline passed.
    pub async fn call<T, W>(&self, work: W) -> Result<T, Error>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let request = Box::new(Call { work: Some(work), outcome: None, reply });
        let Deadlines { turn, answer: patience } = self.deadlines;
        match timeout(turn, self.line.send(request)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(Error::Closed),
            Err(_) => return Err(Error::Busy(turn)),
        }
        timeout(patience, answer).await.map_err(|_| Error::Late(patience))?.map_err(|_| Error::Closed)?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.line.close();
        if let Some(thread) = self.thread.take() {
            // It can only have panicked, and then the panic was already told.
            drop(thread.join());
        }
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("waiting", &self.line.len()).finish_non_exhaustive()
    }
}

/// A call, without its types.
trait Request: Send {
    /// Whether somebody still waits for it.
    fn is_wanted(&self) -> bool;
    /// Does the work; says whether what it wrote is to be kept.
    fn run(&mut self, connection: &Connection) -> bool;
    /// Tells what came of it, once the transaction has ended.
    fn answer(self: Box<Self>, committed: Result<(), Error>);
}

struct Call<T, W> {
    work: Option<W>,
    outcome: Option<rusqlite::Result<T>>,
    reply: oneshot::Sender<Result<T, Error>>,
}

impl<T, W> Request for Call<T, W>
where
    T: Send,
    W: FnOnce(&Connection) -> rusqlite::Result<T> + Send,
{
    fn is_wanted(&self) -> bool {
        !self.reply.is_closed()
    }

    fn run(&mut self, connection: &Connection) -> bool {
        self.outcome = self.work.take().map(|work| work(connection));
        matches!(self.outcome, Some(Ok(_)))
    }

    fn answer(self: Box<Self>, committed: Result<(), Error>) {
        let outcome = match (self.outcome, committed) {
            (Some(Err(own)), _) => Err(own.into()),
            (_, Err(shared)) => Err(shared),
            (Some(Ok(value)), Ok(())) => Ok(value),
            (None, Ok(())) => return,
        };
        // A caller that is gone needs no answer.
        drop(self.reply.send(outcome));
    }
}

fn serve(connection: &Connection, requests: &async_channel::Receiver<Box<dyn Request>>) {
    while let Ok(first) = requests.recv_blocking() {
        let others = std::iter::from_fn(|| requests.try_recv().ok()).take(MAX_GROUP - 1);
        let mut group: Vec<_> = std::iter::once(first).chain(others).collect();
        let committed =
            commit_together(connection, &mut group).map_err(|error| Error::Sqlite(Arc::new(error)));
        for request in group {
            request.answer(committed.clone());
        }
    }
}

fn commit_together(connection: &Connection, group: &mut [Box<dyn Request>]) -> rusqlite::Result<()> {
    let mut transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    for request in group.iter_mut().filter(|request| request.is_wanted()) {
        let savepoint = transaction.savepoint()?;
        if request.run(&savepoint) {
            savepoint.commit()?;
        } else {
            drop(savepoint);
        }
        // A full disk, or an error in reading or writing, rolls back everything; what came now would have no transaction.
        if connection.is_autocommit() {
            return Err(rusqlite::Error::SqliteFailure(
                rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_ABORT_ROLLBACK),
                None,
            ));
        }
    }
    transaction.commit()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::sqlite::{Synchronous, open, open_to_read};

    const DEADLINES: Deadlines =
        Deadlines { turn: Duration::from_millis(200), answer: Duration::from_secs(10) };

    fn writer(folder: &tempfile::TempDir) -> Writer {
        let path = folder.path().join("test.db");
        let connection =
            open(&path, Synchronous::Normal, &["CREATE TABLE t (n INTEGER PRIMARY KEY)"]).unwrap();
        Writer::start(connection, "test writer", DEADLINES).unwrap()
    }

    fn rows(folder: &tempfile::TempDir) -> Vec<i64> {
        let connection = open_to_read(&folder.path().join("test.db")).unwrap();
        let mut statement = connection.prepare("SELECT n FROM t ORDER BY n").unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    }

    fn insert(n: i64) -> impl FnOnce(&Connection) -> rusqlite::Result<usize> + Send + 'static {
        move |connection| connection.execute("INSERT INTO t VALUES (?1)", [n])
    }

    /// Keeps the thread at work until `free` is dropped.
    struct Blocker {
        begun: std::sync::mpsc::Receiver<()>,
        free: std::sync::mpsc::SyncSender<()>,
    }

    impl Blocker {
        async fn begun(&self) {
            while self.begun.try_recv().is_err() {
                tokio::task::yield_now().await;
            }
        }
    }

    fn block(writer: &Writer) -> (Blocker, impl Future<Output = Result<(), Error>>) {
        let (begin, begun) = std::sync::mpsc::sync_channel(1);
        let (free, blocked) = std::sync::mpsc::sync_channel::<()>(1);
        let work = move |_: &Connection| {
            begin.send(()).unwrap_or(());
            blocked.recv().unwrap_or(());
            Ok(())
        };
        (Blocker { begun, free }, writer.call(work))
    }

    #[tokio::test]
    async fn requests_that_wait_share_a_transaction_and_one_error_is_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let writer = writer(&folder);
        let (blocker, blocking) = block(&writer);
        let spoiled = writer.call(|connection| {
            connection.execute("INSERT INTO t VALUES (2)", [])?;
            connection.execute("INSERT INTO t VALUES (1)", [])
        });
        let together = async { tokio::join!(writer.call(insert(1)), spoiled, writer.call(insert(3))) };
        let (blocked, (one, two, three), ()) = tokio::join!(blocking, together, async {
            blocker.begun().await;
            while writer.line.len() < 3 {
                tokio::task::yield_now().await;
            }
            drop(blocker.free);
        });
        blocked.unwrap();
        assert_eq!((one.unwrap(), three.unwrap()), (1, 1));
        assert!(matches!(two, Err(Error::Sqlite(_))), "{two:?}");
        assert_eq!(rows(&folder), [1, 3]);
    }

    #[tokio::test]
    async fn work_whose_caller_has_gone_is_not_begun() {
        let folder = tempfile::tempdir().unwrap();
        let writer = writer(&folder);
        let (blocker, blocking) = block(&writer);
        let impatient = timeout(Duration::from_millis(20), writer.call(insert(1)));
        let (blocked, impatient) = tokio::join!(blocking, async {
            blocker.begun().await;
            let outcome = impatient.await;
            drop(blocker.free);
            outcome
        });
        blocked.unwrap();
        assert!(impatient.is_err());
        writer.call(insert(2)).await.unwrap();
        assert_eq!(rows(&folder), [2]);
    }

    #[tokio::test]
    async fn a_full_line_makes_callers_wait_and_then_refuses() {
        let folder = tempfile::tempdir().unwrap();
        let writer = writer(&folder);
        let (blocker, blocking) = block(&writer);
        let crowd = async {
            blocker.begun().await;
            // As many as the line has places, and one.
            let mut asked: Vec<_> = (0..=MAX_LINE).map(|_| Box::pin(writer.call(|_| Ok(())))).collect();
            for call in &mut asked {
                let polled =
                    std::future::poll_fn(|context| std::task::Poll::Ready(call.as_mut().poll(context)));
                assert!(polled.await.is_pending());
            }
            let last = asked.pop().unwrap().await;
            drop(blocker.free);
            last
        };
        let (blocked, last) = tokio::join!(blocking, crowd);
        blocked.unwrap();
        assert!(matches!(last, Err(Error::Busy(_))), "{last:?}");
    }

    #[tokio::test]
    async fn dropping_it_ends_the_thread_and_closes_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let writer = writer(&folder);
        writer.call(insert(1)).await.unwrap();
        drop(writer);
        // The last connection to close takes the log with it.
        assert!(!folder.path().join("test.db-wal").exists());
    }
}
