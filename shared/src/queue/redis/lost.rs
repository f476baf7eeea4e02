//! Claims whose answers never arrived: cut off by an error, a deadline, or a caller who went away.
//!
//! Redis may have done them, or may do them yet, when it was only slow. Their jobs would be nobody's until the leases lapse; so the next
//! claim asks for what this process has pending from them, for as long as such a lease could stand.

use std::{
    collections::HashMap,
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// How often to ask again.
const EVERY: Duration = Duration::from_secs(1);

/// More lost claims than that are left to lapse.
const MOST: usize = 256;

/// The numbers of lost claims.
#[derive(Debug, Default)]
pub(super) struct Lost(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// With the moment that each was lost at.
    claims: HashMap<u64, Instant>,
    asked: Option<Instant>,
}

/// A claim under way. Dropped without having been heard, it is lost.
#[derive(Debug)]
pub(super) struct Attempt<'a> {
    lost: &'a Lost,
    claim: u64,
}

impl Lost {
    /// A claim that nobody has ever made, and nobody will: also after Redis has forgotten everything.
    pub(super) fn attempt(&self) -> Attempt<'_> {
        Attempt { lost: self, claim: fastrand::u64(..) }
    }

    /// The claims to ask for now: mostly none.
    pub(super) fn to_ask(&self, lease: Duration) -> Vec<u64> {
        let (mut state, now) = (self.state(), Instant::now());
        if state.claims.is_empty() || state.asked.is_some_and(|asked| now < asked + EVERY) {
            return Vec::new();
        }
        state.asked = Some(now);
        state.claims.retain(|_, since| now < *since + lease + EVERY);
        state.claims.keys().copied().collect()
    }

    /// These were found, and done with.
    pub(super) fn found(&self, claims: &[u64]) {
        let mut state = self.state();
        for claim in claims {
            state.claims.remove(claim);
        }
    }

    fn add(&self, claim: u64) {
        let mut state = self.state();
        if state.claims.len() < MOST {
            state.claims.insert(claim, Instant::now());
            state.asked = None;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempt<'_> {
    /// The claim's number.
    pub(super) fn claim(&self) -> u64 {
        self.claim
    }

    /// Its answer arrived.
    pub(super) fn heard(self) {
        mem::forget(self);
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        self.lost.add(self.claim);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn what_was_not_heard_is_asked_for_until_it_is_found_or_its_lease_is_over() {
        let lost = Lost::default();
        lost.attempt().heard();
        assert!(lost.to_ask(LEASE).is_empty());
        let claims = [lost.attempt().claim(), lost.attempt().claim()];
        let mut asked = lost.to_ask(LEASE);
        asked.sort_unstable();
        let mut both = claims;
        both.sort_unstable();
        assert_eq!(asked, both);
        assert!(lost.to_ask(LEASE).is_empty(), "asked a moment ago");
        lost.found(&claims[..1]);
        tokio::time::advance(EVERY).await;
        assert_eq!(lost.to_ask(LEASE), claims[1..]);
        tokio::time::advance(LEASE + EVERY).await;
        assert!(lost.to_ask(LEASE).is_empty());
    }
}
