//! The thread: takes what waits, applies it, writes it, answers it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use async_channel::{Receiver, WeakSender};
use rusqlite::Connection;
use tokio::time::Instant;
use tracing::{error, info};

use super::{
    super::{
        Holder, Ticket,
        state::{Full, Pushed, State},
        wait::Bell,
    },
    journal::{self, Journal},
    request::{Answer, Handed, Message, Request, Taken},
};
use crate::{
    clock::Clock,
    model::{Job, Timestamp},
    report::Report,
};

/// The most requests that are taken at once: it bounds how long the first of them waits for the last.
const BATCH: usize = 1024;

/// How long requests that come in numbers wait for each other: at 10,000 jobs a second a job costs 7 % less CPU for it.
const GATHER: Duration = Duration::from_micros(300);

/// How long they do where no upload waits for them: long enough for some forty jobs of 64 clients that never rest, on two cores.
const GATHER_BEHIND: Duration = Duration::from_millis(2);

/// The rest before jobs that were taken over and could not be written are tried again.
const AGAIN: Duration = Duration::from_millis(50);

/// Owns the rules and the file.
pub(super) struct Writer {
    connection: Connection,
    state: State,
    health: Health,
    clock: Clock,
    bell: Arc<Bell>,
    behind: Option<WriteBehind>,
    /// Jobs that were taken over and are not in the file.
    owed: Vec<Handed>,
}

/// What it takes to write behind those who hand jobs over.
struct WriteBehind {
    /// The file's name, which it has again when it was closed with all jobs in it.
    name: String,
    /// What it is called meanwhile.
    meanwhile: String,
    /// Whether jobs are taken over: not while some that were cannot be written.
    takes_over: Arc<AtomicBool>,
}

/// Whether the rules agree with the file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Health {
    Well,
    /// The last transaction failed: before the next one the rules start again from the file.
    Failing,
}

impl Writer {
    /// Nothing is loaded yet.
    pub(super) fn new(connection: Connection, state: State, clock: Clock, bell: Arc<Bell>) -> Self {
        Self { connection, state, health: Health::Well, clock, bell, behind: None, owed: Vec::new() }
    }

    /// Takes jobs over from now on. Meanwhile the file has another name than the one that is told: that is what the next process finds
    /// if this one does not come to its end.
    pub(super) fn write_behind(&mut self, takes_over: &Arc<AtomicBool>) -> rusqlite::Result<()> {
        let name = journal::incarnation(&self.connection)?;
        let meanwhile = journal::name_anew(&self.connection)?;
        takes_over.store(true, Ordering::Relaxed);
        self.behind = Some(WriteBehind { name, meanwhile, takes_over: Arc::clone(takes_over) });
        Ok(())
    }

    /// Starts the rules from the file.
    pub(super) fn load(&mut self) -> rusqlite::Result<()> {
        let mut state = self.state.emptied();
        journal::load(&self.connection, &mut state, self.clock.now(), Instant::now())?;
        self.state = state;
        Ok(())
    }

    /// Serves requests until the last handle is gone and the last request is written.
    pub(super) fn run(mut self, requests: &Receiver<Message>, back: &WeakSender<Message>) {
        let mut batch = Vec::with_capacity(BATCH);
        let gather = if self.behind.is_some() { GATHER_BEHIND } else { GATHER };
        let mut busy = false;
        while self.wait(requests, &mut batch) {
            if busy {
                thread::sleep(gather);
            }
            let mut taken = 1;
            while taken < BATCH
                && let Ok(next) = requests.try_recv()
            {
                self.accept(next, &mut batch);
                taken += 1;
            }
            busy = taken > 1;
            match self.write(&mut batch, back) {
                Ok(written) => self.answer(written),
                Err(error) => self.fail(&error),
            }
            // Requests that were not written are dropped, which is their answer.
            batch.clear();
        }
        self.end();
    }

    /// Waits for something to do; says whether there is. A job that has no room yet is tried again with whatever comes next.
    fn wait(&mut self, requests: &Receiver<Message>, batch: &mut Vec<Request>) -> bool {
        if self.owed.is_empty() || self.health == Health::Well {
            return requests.recv_blocking().map(|first| self.accept(first, batch)).is_ok();
        }
        thread::sleep(AGAIN);
        !(requests.is_closed() && requests.is_empty())
    }

    fn accept(&mut self, message: Message, batch: &mut Vec<Request>) {
        match message {
            Message::HandOver(handed) => self.owed.push(handed),
            Message::Ask(request) => batch.push(request),
        }
    }

    /// Gives the file its name back, if it has all jobs.
    fn end(self) {
        let Some(behind) = self.behind else { return };
        let jobs = self.owed.len();
        if jobs > 0 {
            error!(jobs, "the queue ends without jobs that it took over, the sweep makes them again");
            return;
        }
        let ended = journal::rename(&self.connection, &behind.meanwhile, &behind.name);
        if let Err(error) = ended {
            error!(error = %Report(&error), "the queue's file keeps another name, everything is looked for at the next start");
        }
    }

    fn write(&mut self, batch: &mut Vec<Request>, back: &WeakSender<Message>) -> rusqlite::Result<Written> {
        let mut written = Written::with_capacity(batch.len());
        if self.health == Health::Failing {
            self.load()?;
            written.look_again = true;
        }
        let mut turn = Turn {
            state: &mut self.state,
            journal: Journal::begin(&self.connection)?,
            now: Instant::now(),
            wall: self.clock.now(),
            back,
            written,
        };
        let placed: Vec<bool> =
            self.owed.iter().map(|handed| turn.place(handed)).collect::<rusqlite::Result<_>>()?;
        for request in batch.drain(..) {
            let answer = turn.apply(request)?;
            turn.written.answers.push(answer);
        }
        let Turn { journal, written, .. } = turn;
        journal.commit()?;
        let mut placed = placed.into_iter();
        self.owed.retain(|_| placed.next() == Some(false));
        Ok(written)
    }

    fn answer(&mut self, written: Written) {
        if self.health == Health::Failing {
            info!("the queue's file is written again");
            self.health = Health::Well;
        }
        self.take_over(self.owed.is_empty());
        written.answers.into_iter().for_each(Answer::send);
        self.bell.ring(written.ready);
        if written.look_again {
            self.bell.ring_for_all();
        }
    }

    fn fail(&mut self, error: &rusqlite::Error) {
        if self.health == Health::Well {
            error!(error = %Report(error), "the queue's file is not written, requests are refused");
        }
        self.health = Health::Failing;
        self.take_over(false);
    }

    /// Says whether jobs are taken over from now on.
    fn take_over(&self, takes_over: bool) {
        if let Some(behind) = &self.behind {
            behind.takes_over.store(takes_over, Ordering::Relaxed);
        }
    }
}

/// What is to be told when a transaction is written.
struct Written {
    answers: Vec<Answer>,
    /// How many jobs came into line.
    ready: usize,
    /// Whether what time will bring has changed.
    look_again: bool,
}

impl Written {
    fn with_capacity(requests: usize) -> Self {
        Self { answers: Vec::with_capacity(requests), ready: 0, look_again: false }
    }
}

/// One transaction's view of everything.
struct Turn<'a> {
    state: &'a mut State,
    journal: Journal<'a>,
    now: Instant,
    wall: Timestamp,
    back: &'a WeakSender<Message>,
    written: Written,
}

impl Turn<'_> {
    /// Puts a job in line that was taken over, and says whether it is there. Its credit may have lapsed meanwhile: then it may have to
    /// wait for room, or for another credit of its holder.
    fn place(&mut self, handed: &Handed) -> rusqlite::Result<bool> {
        Ok(self.push(&handed.job, &handed.payload, Some(&handed.holder))?.is_ok())
    }

    fn apply(&mut self, request: Request) -> rusqlite::Result<Answer> {
        Ok(match request {
            Request::Hold { holder, want, answer } => {
                Answer::Granted(answer, self.state.hold_credits(&holder, want, self.now))
            }
            Request::Push { job, payload, holder, answer } => {
                Answer::Pushed(answer, self.push(&job, &payload, holder.as_ref())?)
            }
            Request::Claim { max, answer } => {
                // Who has stopped waiting gets nothing.
                let max = if answer.is_closed() { 0 } else { max };
                Answer::Taken(answer, self.claim(max)?)
            }
            Request::Extend { tickets, answer } => {
                for ticket in tickets {
                    self.state.extend(ticket, self.now);
                }
                Answer::Written(answer)
            }
            Request::Done { tickets, answer } => {
                self.done(&tickets)?;
                Answer::Written(answer)
            }
            Request::Again { tickets, delay, tried, answer } => {
                for ticket in tickets {
                    self.again(ticket, delay, tried)?;
                }
                Answer::Written(answer)
            }
            Request::Depth { answer } => Answer::Counted(answer, self.state.depth(self.now)),
        })
    }

    fn push(
        &mut self,
        job: &Arc<Job>,
        payload: &str,
        holder: Option<&Holder>,
    ) -> rusqlite::Result<Result<(), Full>> {
        let pushed = self.state.push(Arc::clone(job), holder, self.now);
        if let Ok(Pushed::New(entry)) = pushed {
            self.journal.push(entry, job, payload, self.wall)?;
            self.written.ready += 1;
        }
        Ok(pushed.map(drop))
    }

    fn claim(&mut self, max: usize) -> rusqlite::Result<Taken> {
        let claimed = self.state.claim(max, self.now);
        self.journal.claim(claimed.iter().map(|one| one.ticket.number()).collect())?;
        Ok(Taken::new(claimed, self.state.next_ready(), self.back.clone()))
    }

    fn done(&mut self, tickets: &[Ticket]) -> rusqlite::Result<()> {
        let stood = tickets.iter().filter(|ticket| self.state.done(**ticket, self.now));
        self.journal.done(stood.map(|ticket| ticket.number()).collect())
    }

    fn again(&mut self, ticket: Ticket, delay: Duration, tried: bool) -> rusqlite::Result<()> {
        let Some(back) = self.state.again(ticket, delay, tried, self.now) else { return Ok(()) };
        if delay.is_zero() {
            self.written.ready += 1;
            self.journal.again(ticket.number(), back, None)
        } else {
            self.written.look_again = true;
            self.journal.again(ticket.number(), back, Some(self.wall.after(delay)))
        }
    }
}
