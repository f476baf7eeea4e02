//! A queue in a SQLite file of its own, for one process.
//!
//! One thread owns the rules (in memory) and the file, which is a journal of them. It takes all requests that wait,
//! applies them, writes them in one transaction and only then answers them: group commit, so that the busier the queue is, the less
//! a job costs. What was answered survives the end of the process; the last moments may be lost in a power cut, and the
//! sweep makes those jobs again.
//!
//! Leases and credits are not written: who held them is gone when the process is. After a start every job is in line in
//! the order of arrival, or delayed until its time; the count of deliveries is written with each claim, so a job that kills
//! the process shows at the next start. When the file cannot be written, all who wait are told [`Error::Unavailable`], and
//! the rules start again from the file: leases and credits lapse, nothing that was answered is lost.
//!
//! [`Writing::Behind`] lets uploads hand their jobs over instead of pushing them: some milliseconds later they are in the file, and
//! until then they are lost with the process. It shows in the file's name, and the sweep makes them again (ADR 12).

mod journal;
mod peek;
mod request;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use async_channel::Sender;
use async_trait::async_trait;
use tokio::{sync::oneshot, time::timeout};

pub use self::peek::{peek_depth, waiting};
use self::{
    request::{Handed, Message, Request},
    writer::Writer,
};
use super::{
    Claimed, Depth, Error, Grant, Holder, JobQueue, Settings, Ticket,
    state::State,
    wait::{Bell, Found},
};
use crate::{
    clock::Clock,
    model::{Job, json},
};

/// How many requests may wait for the thread; more wait outside, within their deadline.
const WAITING: usize = 4096;
/// The longest wait for an answer, the wait for a job not counted.
const DEADLINE: Duration = Duration::from_secs(5);

/// When an upload may go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Writing {
    /// When its job is in the file.
    Through,
    /// At once.
    Behind,
}

/// The handle. Dropping it writes what was accepted, and closes the file.
#[derive(Debug)]
pub struct SqliteQueue {
    requests: Sender<Message>,
    bell: Arc<Bell>,
    lease: Duration,
    incarnation: String,
    /// Whether jobs are taken over at present.
    takes_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl SqliteQueue {
    /// Opens the file, makes it if need be, and takes in the jobs that it keeps. Blocks meanwhile: about a second for each
    /// 200,000 jobs. No other process may write the file.
    ///
    /// # Errors
    /// When the file cannot be opened or read, or was made by a newer Headworks.
    pub fn open(path: &Path, settings: Settings, writing: Writing, clock: Clock) -> Result<Self, Error> {
        let (requests, accepted) = async_channel::bounded(WAITING);
        let bell = Arc::new(Bell::default());
        let connection = journal::open(path).map_err(unavailable)?;
        let incarnation = journal::incarnation(&connection).map_err(unavailable)?;
        let mut writer = Writer::new(connection, State::new(settings), clock, Arc::clone(&bell));
        writer.load().map_err(unavailable)?;
        let takes_over = Arc::new(AtomicBool::new(false));
        if writing == Writing::Behind {
            writer.write_behind(&takes_over).map_err(unavailable)?;
        }
        let back = requests.downgrade();
        let thread = thread::Builder::new()
            .name("queue".to_owned())
            .spawn(move || writer.run(&accepted, &back))
            .map_err(unavailable)?;
        Ok(Self { requests, bell, lease: settings.lease, incarnation, takes_over, thread: Some(thread) })
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, Error> {
        let (answer, heard) = oneshot::channel();
        let asked = async {
            self.requests.send(Message::Ask(request(answer))).await.map_err(|_| NoAnswer::Ended)?;
            heard.await.map_err(|_| NoAnswer::Unwritten)
        };
        timeout(DEADLINE, asked).await.unwrap_or(Err(NoAnswer::Late)).map_err(unavailable)
    }

    async fn look(&self, max: usize) -> Result<Found, Error> {
        Ok(self.ask(|answer| Request::Claim { max, answer }).await?.accept())
    }
}

#[async_trait]
impl JobQueue for SqliteQueue {
    async fn hold_credits(&self, holder: &Holder, want: [usize; 3]) -> Result<Grant, Error> {
        self.ask(|answer| Request::Hold { holder: holder.clone(), want, answer }).await
    }

    async fn push(&self, job: Job, holder: Option<&Holder>) -> Result<(), Error> {
        let payload = json::to_string(&job.payload).map_err(unavailable)?;
        let (job, holder) = (Arc::new(job), holder.cloned());
        Ok(self.ask(|answer| Request::Push { job, payload, holder, answer }).await??)
    }

    fn hand_over(&self, job: &Arc<Job>, holder: &Holder) -> bool {
        if !self.takes_over.load(Ordering::Relaxed) {
            return false;
        }
        let Ok(payload) = json::to_string(&job.payload) else { return false };
        let handed = Handed { job: Arc::clone(job), payload, holder: holder.clone() };
        self.requests.try_send(Message::HandOver(handed)).is_ok()
    }

    async fn claim(&self, max: usize, wait: Duration) -> Result<Vec<Claimed>, Error> {
        if max == 0 {
            return Ok(Vec::new());
        }
        self.bell.wait(wait, self.lease, || self.look(max)).await
    }

    async fn extend(&self, tickets: &[Ticket]) -> Result<(), Error> {
        self.ask(|answer| Request::Extend { tickets: tickets.to_vec(), answer }).await
    }

    async fn done(&self, tickets: &[Ticket]) -> Result<(), Error> {
        self.ask(|answer| Request::Done { tickets: tickets.to_vec(), answer }).await
    }

    async fn again(&self, ticket: Ticket, delay: Duration, tried: bool) -> Result<(), Error> {
        self.ask(|answer| Request::Again { tickets: vec![ticket], delay, tried, answer }).await
    }

    async fn depth(&self) -> Result<Depth, Error> {
        self.ask(|answer| Request::Depth { answer }).await
    }

    async fn incarnation(&self) -> Result<String, Error> {
        Ok(self.incarnation.clone())
    }
}

impl Drop for SqliteQueue {
    /// Waits for the thread: for at most 4,096 requests, a fraction of a second.
    fn drop(&mut self) {
        self.requests.close();
        if let Some(thread) = self.thread.take() {
            // A panic was told by its hook.
            drop(thread.join());
        }
    }
}

fn unavailable(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Unavailable(Arc::new(error))
}

/// A request was not answered.
#[derive(Debug, Clone, Copy, thiserror::Error)]
enum NoAnswer {
    /// The cause is in the log.
    #[error("the queue's file was not written")]
    Unwritten,
    #[error("no answer from the queue's thread within {} s", DEADLINE.as_secs())]
    Late,
    #[error("the queue's thread has ended")]
    Ended,
}
