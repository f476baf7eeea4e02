//! Tells those who wait what became of an upload: `Prefer: wait`, and `If-None-Match: *`, which only the processor's
//! transaction can decide.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::oneshot;

use crate::model::{State, UploadId};

/// How an upload ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// Stored, failed, or (when somebody was quicker) deleted.
    pub state: State,
    /// Why it failed: a code of `docs/error-codes.md`.
    pub reason: Option<&'static str>,
}

/// Those who wait, by upload. Bounded by the uploads in flight: whoever waits holds a stream permit.
#[derive(Clone, Debug, Default)]
pub struct Outcomes(Arc<Mutex<HashMap<UploadId, Vec<oneshot::Sender<Outcome>>>>>);

impl Outcomes {
    /// Begins to listen; to be called before the job is pushed, so that nothing is missed.
    pub fn listen(&self, id: UploadId) -> Listener {
        let (tell, heard) = oneshot::channel();
        self.lock().entry(id).or_default().push(tell);
        Listener { id, heard, outcomes: self.clone() }
    }

    /// The uploads that somebody waits for.
    pub fn waited_for(&self) -> Vec<UploadId> {
        self.lock().keys().copied().collect()
    }

    /// Tells all who listen for `id`.
    pub fn tell(&self, id: UploadId, outcome: &Outcome) {
        for listener in self.lock().remove(&id).unwrap_or_default() {
            // A listener that is gone needs no answer.
            drop(listener.send(outcome.clone()));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<UploadId, Vec<oneshot::Sender<Outcome>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Listens for one upload's outcome; gives its place back when dropped.
#[derive(Debug)]
pub struct Listener {
    id: UploadId,
    heard: oneshot::Receiver<Outcome>,
    outcomes: Outcomes,
}

impl Listener {
    /// Waits for the outcome; `None` when nobody can tell any more. The caller sets the deadline.
    pub async fn outcome(&mut self) -> Option<Outcome> {
        (&mut self.heard).await.ok()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.heard.close();
        let mut waiting = self.outcomes.lock();
        if let Some(listeners) = waiting.get_mut(&self.id) {
            listeners.retain(|listener| !listener.is_closed());
            if listeners.is_empty() {
                waiting.remove(&self.id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[tokio::test]
    async fn all_who_listen_are_told_and_nobody_is_left_behind() {
        let outcomes = Outcomes::default();
        let id = Clock::system().upload_id();
        let (mut one, two) = (outcomes.listen(id), outcomes.listen(id));
        drop(two);
        let stored = Outcome { state: State::Stored, reason: None };
        outcomes.tell(id, &stored);
        assert_eq!(one.outcome().await, Some(stored));
        drop(outcomes.listen(id));
        assert!(outcomes.lock().is_empty());
    }
}
