//! Credits: the right to put one job on the queue, leased from it in blocks and spent here, one for each upload.
//!
//! So a full queue refuses at the door, and costs the queue nothing. A grant that lapsed is not trusted: nothing is admitted until
//! it was renewed. And nobody is refused on a guess: the queue was asked while an upload waited, or a moment before it came.

mod pace;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use headworks_shared::{
    config::settings::Queue as QueueSettings,
    model::{Job, Priority},
    queue::{Depth, Error, Grant, Holder, JobQueue},
    report::Report,
    shutdown::{Stop, Tasks},
    stack::Stack,
};
use tokio::{
    sync::Notify,
    time::{Instant, timeout, timeout_at},
};
use tracing::warn;

use self::pace::Pace;

/// The longest rest between questions while the queue has no room, or cannot be reached; and how long such an answer is news.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// The shortest.
const ASK_SOON: Duration = Duration::from_millis(10);

/// One in so many of the queue's places may be in stock, those for the refused included.
const STOCK_ONE_IN: usize = 16;

/// Who is refused by a full queue is told when one in so many of its places will be free; with fewer jobs it says nothing about its pace.
const TENTH: usize = 10;

/// The longest wait for an answer of the queue.
const ANSWER: Duration = Duration::from_secs(2);

/// A priority that nobody used for so long keeps no credits in stock.
const STOCK_FOR: Duration = Duration::from_secs(10);

/// This process's credits.
#[derive(Debug)]
pub(crate) struct Credits {
    queue: Arc<dyn JobQueue>,
    holder: Holder,
    capacity: usize,
    block: usize,
    renew_every: Duration,
    state: Mutex<State>,
    /// The stock of a priority runs low.
    wanted: Notify,
    /// A priority is used that has no stock.
    wanted_first: Notify,
    answered: Notify,
}

/// Why there is no credit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NoCredit {
    /// The queue has no room.
    Full,
    /// The queue did not answer.
    Unreachable,
}

#[derive(Debug)]
struct State {
    /// Unspent on the queue's books, those promised to uploads included.
    held: [usize; 3],
    /// In the hands of uploads.
    promised: [usize; 3],
    /// Uploads that have none yet and wait for one.
    waiting: [usize; 3],
    /// Uploads that went without one since the queue was asked last.
    refused: [usize; 3],
    /// Spent so far, ever.
    spent: [usize; 3],
    used_at: [Option<Instant>; 3],
    until: Instant,
    /// How often the queue was asked for credits.
    questions: u64,
    last_answer: Answer,
    pace: Pace,
}

/// What the next question is needed for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Need {
    /// To keep what there is.
    None,
    /// To give back what was asked for in the place of those who were refused.
    Passing,
    /// The queue had less than was asked for.
    Pressing,
    /// The queue said nothing.
    Unheard,
}

/// The last question that came to an end.
#[derive(Clone, Copy, Debug)]
struct Answer {
    question: u64,
    at: Instant,
    of: [Answered; 3],
}

/// What came of a question, for one priority.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Answered {
    /// All that was asked for.
    Enough,
    /// The queue has no room for more.
    Short,
    /// Nothing.
    NotAtAll,
}

impl Credits {
    pub(crate) fn new(stack: &Stack, settings: &QueueSettings) -> Self {
        Self {
            queue: Arc::clone(&stack.queue),
            holder: stack.node.clone(),
            capacity: settings.capacity,
            // A small queue is not to be handed out in stock.
            block: settings.credit_block.min(settings.capacity.div_ceil(STOCK_ONE_IN)),
            renew_every: settings.credit_ttl.0 / 3,
            state: Mutex::new(State::new()),
            wanted: Notify::new(),
            wanted_first: Notify::new(),
            answered: Notify::new(),
        }
    }

    /// Takes a credit as soon as there is one, within `hold`; unless the queue has just said that there is none, its first answer is
    /// waited for in any case.
    pub(super) async fn take(
        self: &Arc<Self>,
        priority: Priority,
        hold: Duration,
    ) -> Result<Credit, NoCredit> {
        if let Some(credit) = self.try_take(priority) {
            return Ok(credit);
        }
        let begun = Instant::now();
        let (_counted, asked_before) = Waiting::begin(self, priority);
        loop {
            let answered = self.answered.notified();
            let mut answered = std::pin::pin!(answered);
            answered.as_mut().enable();
            if let Some(credit) = self.try_take(priority) {
                return Ok(credit);
            }
            let last = self.state().last_answer;
            let answer = last.of[priority.index()];
            let why = match answer {
                Answered::Short => NoCredit::Full,
                // That it has enough is of no use where it takes too long to say so.
                Answered::Enough | Answered::NotAtAll => NoCredit::Unreachable,
            };
            let is_news = last.question > asked_before || last.at.elapsed() < ASK_AGAIN;
            let is_told = is_news && answer != Answered::Enough;
            let hold = if is_told { hold } else { hold.max(ANSWER) };
            if timeout_at(begun + hold, answered).await.is_err() {
                self.state().refused[priority.index()] += 1;
                return Err(why);
            }
        }
    }

    fn try_take(self: &Arc<Self>, priority: Priority) -> Option<Credit> {
        let (now, of) = (Instant::now(), priority.index());
        let mut state = self.state();
        if !state.stocks(of, now) {
            self.wanted_first.notify_one();
        }
        state.used_at[of] = Some(now);
        if now >= state.until {
            return None;
        }
        let stock = state.held[of].saturating_sub(state.promised[of]);
        if stock <= self.block / 2 {
            self.wanted.notify_one();
        }
        (stock > 0).then(|| {
            state.promised[of] += 1;
            Credit { credits: Arc::clone(self), priority, spent: false }
        })
    }

    /// Keeps a stock of credits until the task is told to stop, then gives all of them back.
    pub(crate) fn keep(self: &Arc<Self>, tasks: &Tasks) {
        let credits = Arc::clone(self);
        tasks.spawn("credits", |stop| async move { credits.run(stop).await });
    }

    async fn run(&self, stop: Stop) {
        self.state().used_at[Priority::Normal.index()] = Some(Instant::now());
        while !stop.is_cancelled() {
            let need = self.renew().await;
            tokio::select! {
                () = tokio::time::sleep(self.rest(need)) => {}
                () = self.wanted.notified(), if matches!(need, Need::None | Need::Passing) => {}
                () = self.wanted_first.notified() => {}
                () = stop.cancelled() => {}
            }
        }
        {
            let mut state = self.state();
            (state.used_at, state.refused) = ([None; 3], [0; 3]);
        }
        self.renew().await;
    }

    /// Asks for what is wanted.
    async fn renew(&self) -> Need {
        let (want, spent_before, question, for_refused) = {
            let mut state = self.state();
            state.questions += 1;
            let most = self.capacity.div_ceil(STOCK_ONE_IN);
            let want = state.want(self.block, most, Instant::now());
            let for_refused = std::mem::take(&mut state.refused) != [0; 3];
            (want, state.spent, state.questions, for_refused)
        };
        let answer = timeout(ANSWER, self.queue.hold_credits(&self.holder, want)).await;
        let grant = match answer {
            Ok(Ok(grant)) => Some(grant),
            Ok(Err(error)) => {
                warn!(error = %Report(&error), "credits not renewed");
                None
            }
            Err(_) => {
                warn!(waited = ?ANSWER, "credits not renewed in time");
                None
            }
        };
        let of = std::array::from_fn(|of| match grant {
            None => Answered::NotAtAll,
            Some(grant) if grant.held[of] < want[of] => Answered::Short,
            Some(_) => Answered::Enough,
        });
        let mut state = self.state();
        state.last_answer = Answer { question, at: Instant::now(), of };
        state.accept(grant, spent_before);
        drop(state);
        self.answered.notify_waiters();
        match of {
            of if of.contains(&Answered::NotAtAll) => Need::Unheard,
            of if of.contains(&Answered::Short) => Need::Pressing,
            _ if for_refused => Need::Passing,
            _ => Need::None,
        }
    }

    /// How long it rests before the next question. A full queue is asked four times while it frees a block, so that a small one that
    /// drains fast does not run empty meanwhile: asked just as fast as it drains, it would never drain faster. And what was taken for the
    /// refused goes back soon if nobody comes for it.
    fn rest(&self, need: Need) -> Duration {
        match need {
            Need::None => self.renew_every,
            Need::Passing | Need::Unheard => ASK_AGAIN,
            Need::Pressing => {
                let room = self.state().pace.time_to_free(self.block);
                room.map_or(ASK_AGAIN, |room| (room / 4).clamp(ASK_SOON, ASK_AGAIN))
            }
        }
    }

    /// Learns the queue's pace from its depth.
    pub(crate) fn observe(&self, depth: &Depth, now: Instant) {
        let mut state = self.state();
        state.pace = state.pace.next(now, depth, self.tenth());
    }

    /// How long the queue takes to free a tenth of its places, at its present pace; `None` while nothing drains.
    pub(crate) fn drain(&self) -> Option<Duration> {
        self.state().pace.time_to_free(self.tenth())
    }

    fn tenth(&self) -> usize {
        self.capacity.div_ceil(TENTH)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An upload that waits for a credit: what is asked for is enough for all of them, so that who is told that the queue is full was not
/// just too late for the stock.
struct Waiting<'a>(&'a Credits, Priority);

impl<'a> Waiting<'a> {
    /// Also says how many questions were asked without it.
    fn begin(credits: &'a Credits, priority: Priority) -> (Self, u64) {
        let mut state = credits.state();
        state.waiting[priority.index()] += 1;
        (Self(credits, priority), state.questions)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        let of = self.1.index();
        state.waiting[of] -= 1;
        // What was asked for who has gone is of use to others.
        if state.held[of].saturating_sub(state.promised[of] + state.waiting[of]) > 2 * self.0.block {
            self.0.wanted.notify_one();
        }
    }
}

impl State {
    /// Nothing is held, and the queue was asked for nothing yet.
    fn new() -> Self {
        let now = Instant::now();
        Self {
            held: [0; 3],
            promised: [0; 3],
            waiting: [0; 3],
            refused: [0; 3],
            spent: [0; 3],
            used_at: [None; 3],
            until: now,
            questions: 0,
            last_answer: Answer { question: 0, at: now, of: [Answered::Enough; 3] },
            pace: Pace::default(),
        }
    }

    /// Whether credits of this priority are kept in stock.
    fn stocks(&self, of: usize, now: Instant) -> bool {
        self.used_at[of].is_some_and(|at| now.duration_since(at) < STOCK_FOR)
    }

    /// What is asked for: for all who have or want one, a block in stock, and, as others will come, up to `most` with those in the place
    /// of the refused.
    fn want(&self, block: usize, most: usize, now: Instant) -> [usize; 3] {
        std::array::from_fn(|of| {
            let stock = if self.stocks(of, now) { block } else { 0 };
            self.promised[of] + self.waiting[of] + stock.max((stock + self.refused[of]).min(most))
        })
    }

    /// What was spent while the question was on its way may or may not be in the answer; it is taken off, to be safe.
    fn accept(&mut self, grant: Option<Grant>, spent_before: [usize; 3]) {
        let Some(grant) = grant else { return };
        self.held =
            std::array::from_fn(|of| grant.held[of].saturating_sub(self.spent[of] - spent_before[of]));
        self.until = grant.until;
    }
}

/// The right to put one job on the queue; goes back into stock when dropped unspent.
#[derive(Debug)]
pub struct Credit {
    credits: Arc<Credits>,
    priority: Priority,
    spent: bool,
}

impl Credit {
    /// Puts the job on the queue. A repeat of the push is harmless: the job's id is its own.
    ///
    /// # Errors
    /// When the queue cannot be reached, or (after the grant lapsed) is full.
    pub async fn spend(mut self, job: Job) -> Result<(), Error> {
        let (credits, job) = (Arc::clone(&self.credits), Arc::new(job));
        if !credits.queue.hand_over(&job, &credits.holder) {
            credits.queue.push(Arc::unwrap_or_clone(job), Some(&credits.holder)).await?;
        }
        self.spent = true;
        let mut state = self.credits.state();
        let of = self.priority.index();
        state.held[of] = state.held[of].saturating_sub(1);
        state.promised[of] -= 1;
        state.spent[of] += 1;
        drop(state);
        Ok(())
    }
}

impl Drop for Credit {
    fn drop(&mut self) {
        if !self.spent {
            self.credits.state().promised[self.priority.index()] -= 1;
            self.credits.answered.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests;
