//! One file, from its first try to its end.

use std::{sync::Arc, time::Duration};

use headworks_shared::{
    config::Span,
    model::{Crc64, Digests, Receipt},
    report::Report,
};
use http::{
    HeaderName, HeaderValue, Request,
    header::{CONTENT_LENGTH, HOST, USER_AGENT},
};
use tokio::time::{Instant, sleep};

use super::{
    answer::Answer,
    board::Board,
    client::{Client, Line},
    key::{Stamp, key},
    meter::Meter,
    pace::Pace,
    retry::{Course, Decision, Trouble},
    source::{FileBody, Opened, Passing, ReadError},
    target::Target,
    walk::Item,
};

/// How many idempotency keys of one content may be spent: one for each half day, or for each deletion.
const MAX_TURNS: u32 = 16;

/// What all files of a run have in common.
#[derive(Debug)]
pub(super) struct Sending {
    pub(super) target: Target,
    pub(super) client: Client,
    pub(super) pace: Arc<Pace>,
    pub(super) board: Arc<Board>,
    pub(super) patience: Span,
}

/// What is known of a file between its tries.
struct Tries {
    course: Course,
    meter: Arc<Meter>,
    /// How many keys are spent.
    turn: u32,
    /// The content that the first try found; there is no other in this run.
    stamp: Option<Stamp>,
    /// Its digest, once it has passed: a later try announces it, so that a server that has the content already need not take it again.
    crc: Option<Crc64>,
}

impl Tries {
    /// Makes sure that a file is still what the first try found.
    fn same_content(&mut self, opened: &Opened) -> Result<Stamp, ReadError> {
        self.crc = self.crc.or_else(|| opened.crc());
        let first = *self.stamp.get_or_insert(opened.stamp);
        if first == opened.stamp { Ok(first) } else { Err(ReadError::Changed) }
    }

    fn next_key(&mut self, why: String) -> Result<Once, GivenUp> {
        self.turn += 1;
        if self.turn < MAX_TURNS { Ok(Once::Again(Duration::ZERO)) } else { Err(GivenUp::Rejected(why)) }
    }
}

impl Sending {
    /// Sends a file until it is acknowledged with the right digest.
    ///
    /// # Errors
    /// Why it is given up.
    pub(super) async fn send(
        &self,
        item: &Item,
        line: &mut Option<Line>,
    ) -> Result<(Stamp, Receipt), GivenUp> {
        let meter = self.board.begin(item.object.as_str(), item.size);
        let course = Course::new(self.patience.0, Instant::now());
        let mut tries = Tries { course, meter, turn: 0, stamp: None, crc: None };
        loop {
            match self.once(item, line, &mut tries).await? {
                Once::Taken(stamp, receipt) => return Ok((stamp, *receipt)),
                Once::Again(wait) => sleep(wait).await,
            }
            tries.meter.again();
        }
    }

    /// One try.
    async fn once(&self, item: &Item, line: &mut Option<Line>, tries: &mut Tries) -> Result<Once, GivenUp> {
        let turn = self.pace.turn().await;
        let opened = Opened::open(&item.path).await?;
        let stamp = tries.same_content(&opened)?;
        let passing = Passing::new(&tries.meter, &self.pace);
        let request = self.request(item, tries, opened.into_body(Arc::clone(&passing)), stamp)?;
        let answer = self.client.exchange(line, request, &passing).await;
        tries.crc = tries.crc.or(passing.whole());
        if let Some(error) = passing.into_broken() {
            return Err(error.into());
        }
        match answer {
            Ok(Answer::Taken(receipt)) => {
                turn.accepted();
                verified(item, stamp, tries.crc, &receipt)?;
                Ok(Once::Taken(stamp, receipt))
            }
            Ok(Answer::Refused { wait, reason, why }) => {
                // A wait that is longer than all patience is the end of this file, and holds no other one back.
                let again = self.again(tries, Trouble::Refused(wait), &why)?;
                turn.refused(reason.as_deref(), wait);
                self.board.refused();
                Ok(again)
            }
            Ok(Answer::Spent(why)) => tries.next_key(why),
            Ok(Answer::Rejected(why)) => Err(GivenUp::Rejected(why)),
            Ok(Answer::Fault(why)) => self.faulted(item, tries, &why),
            Err(error) => self.faulted(item, tries, &Report(&error).to_string()),
        }
    }

    fn faulted(&self, item: &Item, tries: &mut Tries, why: &str) -> Result<Once, GivenUp> {
        let again = self.again(tries, Trouble::Fault, why)?;
        self.board.faulted(item.object.as_str(), why);
        Ok(again)
    }

    fn again(&self, tries: &mut Tries, trouble: Trouble, why: &str) -> Result<Once, GivenUp> {
        let (taken, others) = (tries.meter.taken(), self.pace.moved());
        match tries.course.decide(trouble, taken, others, Instant::now(), fastrand::f64()) {
            Decision::Again(wait) => Ok(Once::Again(wait)),
            Decision::GiveUp => Err(GivenUp::Impatient { patience: self.patience, why: why.to_owned() }),
        }
    }

    fn request(
        &self,
        item: &Item,
        tries: &Tries,
        body: FileBody,
        stamp: Stamp,
    ) -> Result<Request<FileBody>, http::Error> {
        const VERSION: &str = concat!("headworks/", env!("CARGO_PKG_VERSION"));
        let Target { server, scope, .. } = &self.target;
        let mut request = Request::put(self.target.uri(&item.object)?)
            .header(HOST, server.host())
            .header(USER_AGENT, HeaderValue::from_static(VERSION))
            .header(CONTENT_LENGTH, stamp.size)
            .header(IDEMPOTENCY_KEY, key(scope, &item.object, stamp, tries.turn).to_string())
            .header(ORG, scope.org())
            .header(PROJECT, scope.project());
        if let Some(urgency) = self.target.urgency() {
            request = request.header(PRIORITY, urgency);
        }
        if let Some(crc64nvme) = tries.crc {
            request = request.header(REPR_DIGEST, Digests { crc64nvme, sha256: None }.to_header());
        }
        request.body(body)
    }
}

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const ORG: HeaderName = HeaderName::from_static("x-org-id");
const PROJECT: HeaderName = HeaderName::from_static("x-project-id");
const PRIORITY: HeaderName = HeaderName::from_static("priority");
const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");

/// What a try led to, unless it was the last.
enum Once {
    Taken(Stamp, Box<Receipt>),
    Again(Duration),
}

/// Makes sure that the server has what was sent.
fn verified(item: &Item, stamp: Stamp, sent: Option<Crc64>, receipt: &Receipt) -> Result<(), GivenUp> {
    let stored = receipt.digest.crc64nvme;
    let same = receipt.size == stamp.size && receipt.path == item.object && sent == Some(stored);
    if same { Ok(()) } else { Err(GivenUp::Mismatch { receipt: Box::new(receipt.clone()), sent }) }
}

/// A file is not sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum GivenUp {
    /// It cannot be read as it was.
    #[error("{}", Report(.0))]
    Unreadable(#[from] ReadError),
    /// The server will never take it.
    #[error("{0}")]
    Rejected(String),
    /// It took too long until something moved.
    #[error("given up, because nothing moved for {patience}; the last try: {why}")]
    Impatient { patience: Span, why: String },
    /// The server has other bytes.
    #[error(
        "DIGEST MISMATCH: the server stored {} with {} bytes and crc64nvme {}, but sent was {}",
        receipt.id,
        receipt.size,
        receipt.digest.crc64nvme,
        sent.map_or("less than the whole file".to_owned(), |crc| crc.to_string())
    )]
    Mismatch { receipt: Box<Receipt>, sent: Option<Crc64> },
    /// The request cannot be made.
    #[error("make the request: {0}")]
    Request(#[from] http::Error),
}
