//! What is asked of the thread, and its answers. An answer is made when a request is applied and sent when it is written.

use std::{mem, sync::Arc, time::Duration};

use async_channel::WeakSender;
use tokio::{sync::oneshot::Sender, time::Instant};

use super::super::{Claimed, Depth, Grant, Holder, Ticket, state::Full, wait::Found};
use crate::model::Job;

/// A job that was taken over, until it is in the file.
#[derive(Debug)]
pub(super) struct Handed {
    pub(super) job: Arc<Job>,
    pub(super) payload: String,
    pub(super) holder: Holder,
}

/// What comes to the thread.
#[derive(Debug)]
pub(super) enum Message {
    HandOver(Handed),
    Ask(Request),
}

/// One call of the seam that is answered.
#[derive(Debug)]
pub(super) enum Request {
    Hold { holder: Holder, want: [usize; 3], answer: Sender<Grant> },
    Push { job: Arc<Job>, payload: String, holder: Option<Holder>, answer: Sender<Result<(), Full>> },
    Claim { max: usize, answer: Sender<Taken> },
    Extend { tickets: Vec<Ticket>, answer: Sender<()> },
    Done { tickets: Vec<Ticket>, answer: Sender<()> },
    Again { tickets: Vec<Ticket>, delay: Duration, tried: bool, answer: Sender<()> },
    Depth { answer: Sender<Depth> },
}

/// An answer, and who waits for it. One that is dropped tells its request that nothing was written.
#[derive(Debug)]
pub(super) enum Answer {
    Granted(Sender<Grant>, Grant),
    Pushed(Sender<Result<(), Full>>, Result<(), Full>),
    Taken(Sender<Taken>, Taken),
    Written(Sender<()>),
    Counted(Sender<Depth>, Depth),
}

impl Answer {
    /// Tells whoever asked. Who has gone away needs no answer, and jobs for them give themselves back.
    pub(super) fn send(self) {
        match self {
            Self::Granted(answer, grant) => drop(answer.send(grant)),
            Self::Pushed(answer, pushed) => drop(answer.send(pushed)),
            Self::Taken(answer, taken) => drop(answer.send(taken)),
            Self::Written(answer) => drop(answer.send(())),
            Self::Counted(answer, depth) => drop(answer.send(depth)),
        }
    }
}

/// Claimed jobs on the way to their worker. Unless somebody accepts them they go back in line, unstarted; should the thread be
/// too busy to hear of it, when their leases lapse.
#[derive(Debug)]
pub(super) struct Taken {
    claimed: Vec<Claimed>,
    next: Option<Instant>,
    back: WeakSender<Message>,
}

impl Taken {
    pub(super) fn new(claimed: Vec<Claimed>, next: Option<Instant>, back: WeakSender<Message>) -> Self {
        Self { claimed, next, back }
    }

    pub(super) fn accept(mut self) -> Found {
        Found { claimed: mem::take(&mut self.claimed), next: self.next }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if self.claimed.is_empty() {
            return;
        }
        if let Some(requests) = self.back.upgrade() {
            let tickets = self.claimed.iter().map(|one| one.ticket).collect();
            let (answer, _) = tokio::sync::oneshot::channel();
            let again = Request::Again { tickets, delay: Duration::ZERO, tried: false, answer };
            drop(requests.try_send(Message::Ask(again)));
        }
    }
}
