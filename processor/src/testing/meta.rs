//! Metadata in memory, as far as a processor looks at it. It refuses paths with `poison` in them, and fails while it is down.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use headworks_shared::{
    meta::{
        Attempt, Audit, Backlog, Catalog, DeadLetter, DeadLetters, Deleted, Delivery, Error, Found, Lead,
        Leaders, Ledger, LedgerRow, LogEntry, Next, Outbox, Receiver, Record, Usage, Verdict, event,
    },
    model::{Envelope, Event, EventId, EventType, Object, ObjectPath, Scope, State, Timestamp, UploadId},
};

#[derive(Debug, Default)]
struct Rows {
    ledger: BTreeMap<UploadId, LedgerRow>,
    batches: Vec<usize>,
    events: Vec<Event>,
    relayed: usize,
    deliveries: Vec<(Delivery, Option<Timestamp>)>,
    attempts: Vec<Attempt>,
    disabled: HashSet<String>,
    swept: Option<Timestamp>,
    queue_seen: Option<String>,
    dead: BTreeMap<UploadId, DeadLetter>,
}

/// The metadata.
#[derive(Debug, Default)]
pub(crate) struct Meta {
    rows: Mutex<Rows>,
    down: AtomicBool,
}

impl Meta {
    pub(crate) fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::Relaxed);
    }

    /// What the ledger knows of an upload.
    pub(crate) fn row(&self, id: UploadId) -> Option<LedgerRow> {
        self.rows.lock().unwrap().ledger.get(&id).cloned()
    }

    /// How many uploads are in this state.
    pub(crate) fn count(&self, state: State) -> usize {
        self.rows.lock().unwrap().ledger.values().filter(|row| row.state == state).count()
    }

    /// Writes a row as if an upload had come to this end.
    pub(crate) fn set(&self, id: UploadId, state: State) {
        let row = LedgerRow { id, scope: Scope::default(), state, purged: false, size: 0 };
        self.rows.lock().unwrap().ledger.insert(id, row);
    }

    /// The rows of each committed transaction.
    pub(crate) fn batches(&self) -> Vec<usize> {
        self.rows.lock().unwrap().batches.clone()
    }

    /// All events, in order.
    pub(crate) fn events(&self) -> Vec<Event> {
        self.rows.lock().unwrap().events.clone()
    }

    /// Events that no delivery was made of yet.
    pub(crate) fn unrelayed(&self) -> usize {
        let rows = self.rows.lock().unwrap();
        rows.events.len() - rows.relayed
    }

    /// All tries to deliver, in order.
    pub(crate) fn attempts(&self) -> Vec<Attempt> {
        self.rows.lock().unwrap().attempts.clone()
    }

    fn lock(&self) -> Result<MutexGuard<'_, Rows>, Error> {
        if self.down.load(Ordering::Relaxed) {
            return Err(Error::Unavailable(Arc::new(std::io::Error::other("database is down"))));
        }
        Ok(self.rows.lock().unwrap())
    }
}

#[async_trait]
impl Ledger for Meta {
    async fn persist(&self, batch: &[Record], at: Timestamp) -> Result<Vec<Verdict>, Error> {
        let mut rows = self.lock()?;
        let refused = |record: &Record| record.envelope.path.as_str().contains("poison");
        if batch.iter().any(refused) {
            return Err(Error::Rejected(Arc::new(std::io::Error::other("value out of range"))));
        }
        rows.batches.push(batch.len());
        let mut verdicts = Vec::new();
        for record in batch {
            let verdict = match (rows.ledger.get(&record.id), record.failure) {
                (Some(row), _) => Verdict::Known(row.state),
                (None, Some(reason)) => Verdict::Failed { reason },
                (None, None) => Verdict::Stored { version: 1 },
            };
            let state = match verdict {
                Verdict::Stored { .. } => State::Stored,
                Verdict::Failed { .. } => State::Failed,
                Verdict::Known(state) => state,
            };
            let scope = record.envelope.scope.clone();
            let purged = record.failure.is_some();
            let row = LedgerRow { id: record.id, scope, state, purged, size: record.seal.size };
            rows.ledger.entry(record.id).or_insert(row);
            rows.events.extend(event(record, verdict, at));
            verdicts.push(verdict);
        }
        Ok(verdicts)
    }

    async fn delete(
        &self,
        _: &Scope,
        id: UploadId,
        _: Option<&Envelope>,
        _: Timestamp,
    ) -> Result<Deleted, Error> {
        drop(self.lock()?);
        self.set(id, State::Deleted);
        Ok(Deleted::Now)
    }

    async fn purged(&self, ids: &[UploadId]) -> Result<(), Error> {
        let mut rows = self.lock()?;
        for id in ids {
            if let Some(row) = rows.ledger.get_mut(id) {
                row.purged = true;
            }
        }
        Ok(())
    }

    async fn unpurged(&self, limit: usize) -> Result<Vec<(Scope, UploadId)>, Error> {
        let rows = self.lock()?;
        let unpurged = rows.ledger.values().filter(|row| row.state != State::Stored && !row.purged);
        Ok(unpurged.take(limit).map(|row| (row.scope.clone(), row.id)).collect())
    }

    async fn states(&self, ids: &[UploadId]) -> Result<Vec<Option<State>>, Error> {
        let rows = self.lock()?;
        Ok(ids.iter().map(|id| rows.ledger.get(id).map(|row| row.state)).collect())
    }

    async fn prune(&self, before: Timestamp) -> Result<u64, Error> {
        let mut rows = self.lock()?;
        let all = rows.ledger.len();
        rows.ledger.retain(|id, row| !row.purged || id.time() >= before);
        Ok((all - rows.ledger.len()) as u64)
    }

    async fn swept(&self) -> Result<Option<Timestamp>, Error> {
        Ok(self.lock()?.swept)
    }

    async fn set_swept(&self, at: Timestamp) -> Result<(), Error> {
        self.lock()?.swept = Some(at);
        Ok(())
    }

    async fn queue_seen(&self) -> Result<Option<String>, Error> {
        Ok(self.lock()?.queue_seen.clone())
    }

    async fn set_queue_seen(&self, content: &str) -> Result<(), Error> {
        self.lock()?.queue_seen = Some(content.to_owned());
        Ok(())
    }
}

/// Everybody who asks leads: there is one process.
#[async_trait]
impl Leaders for Meta {
    async fn lead(&self, _: &str) -> Result<Option<Box<dyn Lead>>, Error> {
        drop(self.lock()?);
        Ok(Some(Box::new(Leading)))
    }
}

#[derive(Debug)]
struct Leading;

#[async_trait]
impl Lead for Leading {
    async fn stands(&self) -> bool {
        true
    }
}

#[async_trait]
impl Outbox for Meta {
    async fn relay(&self, receivers: &[Receiver], limit: usize, at: Timestamp) -> Result<usize, Error> {
        let mut rows = self.lock()?;
        let new: Vec<Event> = rows.events.iter().skip(rows.relayed).take(limit).cloned().collect();
        rows.relayed += new.len();
        for event in &new {
            for receiver in
                receivers.iter().filter(|r| r.events.is_empty() || r.events.contains(&event.kind()))
            {
                let payload = event.to_cloud_event();
                let (event, receiver) = (event.id(), receiver.url.clone());
                rows.deliveries.push((Delivery { event, receiver, payload, time: at, tries: 0 }, Some(at)));
            }
        }
        Ok(new.len())
    }

    async fn due(
        &self,
        receiver: &str,
        limit: usize,
        at: Timestamp,
        lease: Duration,
    ) -> Result<Vec<Delivery>, Error> {
        let mut rows = self.lock()?;
        if rows.disabled.contains(receiver) {
            return Ok(Vec::new());
        }
        let due = rows
            .deliveries
            .iter_mut()
            .filter(|(delivery, next)| delivery.receiver == receiver && next.is_some_and(|next| next <= at));
        Ok(due
            .take(limit)
            .map(|(delivery, next)| {
                *next = Some(at.after(lease));
                delivery.clone()
            })
            .collect())
    }

    async fn settle(&self, attempts: &[Attempt]) -> Result<(), Error> {
        let mut rows = self.lock()?;
        for attempt in attempts {
            let ours = |(delivery, _): &&mut (Delivery, _)| {
                delivery.event == attempt.event && delivery.receiver == attempt.receiver
            };
            let (delivery, next) = rows.deliveries.iter_mut().find(ours).unwrap();
            delivery.tries += 1;
            *next = match attempt.next {
                Next::Retry(at) => Some(at),
                Next::Delivered | Next::GivenUp => None,
            };
            rows.attempts.push(attempt.clone());
        }
        Ok(())
    }

    async fn set_disabled(&self, receiver: &str, disabled: bool, _: Timestamp) -> Result<(), Error> {
        let mut rows = self.lock()?;
        if disabled {
            rows.disabled.insert(receiver.to_owned());
        } else {
            rows.disabled.remove(receiver);
        }
        Ok(())
    }

    async fn disabled(&self) -> Result<Vec<String>, Error> {
        Ok(self.lock()?.disabled.iter().cloned().collect())
    }

    async fn backlog(&self) -> Result<Backlog, Error> {
        let rows = self.lock()?;
        let open = rows.deliveries.iter().filter(|(_, next)| next.is_some()).count();
        let pending = (rows.events.len() - rows.relayed + open) as u64;
        Ok(Backlog { pending, oldest: rows.events.first().map(|event| event.time) })
    }

    async fn log(&self, _: usize) -> Result<Vec<LogEntry>, Error> {
        Ok(Vec::new())
    }
}

#[async_trait]
impl DeadLetters for Meta {
    async fn bury(&self, letter: &DeadLetter) -> Result<(), Error> {
        self.lock()?.dead.insert(letter.job.id, letter.clone());
        Ok(())
    }

    async fn dead(&self, after: Option<&DeadLetter>, limit: usize) -> Result<Vec<DeadLetter>, Error> {
        let place = |letter: &DeadLetter| (letter.at, letter.job.id);
        let mut letters: Vec<_> = self.lock()?.dead.values().cloned().collect();
        letters.retain(|letter| after.is_none_or(|after| place(letter) < place(after)));
        letters.sort_by_key(|letter| std::cmp::Reverse(place(letter)));
        letters.truncate(limit);
        Ok(letters)
    }

    async fn dead_letter(&self, id: UploadId) -> Result<Option<DeadLetter>, Error> {
        Ok(self.lock()?.dead.get(&id).cloned())
    }

    async fn discard(&self, letter: &DeadLetter) -> Result<bool, Error> {
        let mut rows = self.lock()?;
        let there = rows.dead.get(&letter.job.id).is_some_and(|kept| kept.at == letter.at);
        Ok(there && rows.dead.remove(&letter.job.id).is_some())
    }

    async fn dead_count(&self) -> Result<u64, Error> {
        Ok(self.lock()?.dead.len() as u64)
    }
}

/// No processor reads these.
#[async_trait]
impl Catalog for Meta {
    async fn find(&self, _: &Scope, _: UploadId) -> Result<Option<Found>, Error> {
        Ok(None)
    }

    async fn at_path(&self, _: &Scope, _: &ObjectPath) -> Result<Option<Object>, Error> {
        Ok(None)
    }

    async fn list(&self, _: &Scope, _: &str, _: Option<&ObjectPath>, _: usize) -> Result<Vec<Object>, Error> {
        Ok(Vec::new())
    }

    async fn versions(&self, _: &Scope, _: &ObjectPath, _: usize) -> Result<Vec<Object>, Error> {
        Ok(Vec::new())
    }

    async fn usage(&self, _: &Scope) -> Result<Usage, Error> {
        Ok(Usage::default())
    }
}

/// Nor these.
#[async_trait]
impl Audit for Meta {
    async fn ledger_page(&self, _: Option<UploadId>, _: usize) -> Result<Vec<LedgerRow>, Error> {
        Ok(Vec::new())
    }

    async fn contradictions(&self) -> Result<Vec<String>, Error> {
        Ok(Vec::new())
    }

    async fn events_of(&self, _: UploadId) -> Result<Vec<(EventId, EventType)>, Error> {
        Ok(Vec::new())
    }
}
