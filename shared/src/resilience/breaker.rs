//! A breaker: when most calls to a dependency fail, the next ones fail at once for a while, instead of each waiting for its
//! deadline; then a few are let through to see whether it is back.
//!
//! Calls are counted in windows of ten seconds, so that failures of an hour ago say nothing. The state is one value under a short
//! lock; time is tokio's, so a test can stand still.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use prometheus::IntGauge;
use tokio::time::Instant;
use tracing::{info, warn};

/// How long calls are counted together.
const WINDOW: Duration = Duration::from_secs(10);

/// When a breaker opens, for how long, and what closes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rule {
    /// The least number of calls in a window that says anything.
    pub calls: u32,
    /// The part of them that must have failed, in percent.
    pub failed_percent: u32,
    /// How long it stays open.
    pub rest: Duration,
    /// How many successes in a row close it again.
    pub successes: u32,
}

impl Rule {
    /// Redis: half of at least 10 calls; 5 s; 2 successes.
    pub const QUEUE: Self =
        Self { calls: 10, failed_percent: 50, rest: Duration::from_secs(5), successes: 2 };
    /// The database: 60 % of at least 20 calls; 10 s; 3 successes.
    pub const DATABASE: Self =
        Self { calls: 20, failed_percent: 60, rest: Duration::from_secs(10), successes: 3 };
}

/// Guards the calls to one dependency.
#[derive(Clone, Debug)]
pub struct Breaker {
    target: &'static str,
    rule: Rule,
    inner: Arc<Mutex<Inner>>,
    /// 0 closed, 1 half open, 2 open.
    gauge: Option<IntGauge>,
}

#[derive(Debug)]
struct Inner {
    state: State,
    /// How often it changed: what a call that began before the last change came to says nothing any more.
    turn: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Calls go through, and are counted since a moment.
    Closed { since: Instant, calls: u32, failed: u32 },
    /// Calls fail at once, until a moment.
    Open { until: Instant },
    /// Some calls go through, to see; `left` may still begin.
    HalfOpen { left: u32, succeeded: u32 },
}

/// The call was not made: the dependency rests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} failed too often, its calls rest")]
pub struct Open(&'static str);

/// One call. What came of it is said once; a call that nobody heard the end of says nothing.
#[derive(Debug)]
#[must_use]
pub struct Call<'a> {
    breaker: Option<&'a Breaker>,
    turn: u64,
}

impl Breaker {
    /// A closed breaker, which shows its state in `gauge`.
    pub fn new(target: &'static str, rule: Rule, gauge: Option<IntGauge>) -> Self {
        let state = State::Closed { since: Instant::now(), calls: 0, failed: 0 };
        Self { target, rule, inner: Arc::new(Mutex::new(Inner { state, turn: 0 })), gauge }
    }

    /// Shows an open breaker whose rest is over as half open: where nobody calls, nothing else would ever tell that it does not hold
    /// calls back any more.
    pub(super) fn show(&self) {
        if let (State::Open { until }, Some(gauge)) = (self.lock().state, &self.gauge)
            && until <= Instant::now()
        {
            gauge.set(1);
        }
    }

    /// Begins a call.
    ///
    /// # Errors
    /// When calls rest.
    pub fn enter(&self) -> Result<Call<'_>, Open> {
        let mut inner = self.lock();
        if let State::Open { until } = inner.state
            && until <= Instant::now()
        {
            self.change(&mut inner, State::HalfOpen { left: self.rule.successes, succeeded: 0 });
        }
        match &mut inner.state {
            State::Closed { .. } => {}
            State::Open { .. } | State::HalfOpen { left: 0, .. } => return Err(Open(self.target)),
            State::HalfOpen { left, .. } => *left -= 1,
        }
        Ok(Call { breaker: Some(self), turn: inner.turn })
    }

    fn ended(&self, turn: u64, succeeded: bool) {
        let mut inner = self.lock();
        if inner.turn != turn {
            return;
        }
        let (now, rule) = (Instant::now(), self.rule);
        let rest = State::Open { until: now + rule.rest };
        match (inner.state, succeeded) {
            (State::Closed { since, calls, failed }, _) => {
                let (since, calls, failed) =
                    if now - since > WINDOW { (now, 0, 0) } else { (since, calls, failed) };
                let (calls, failed) = (calls + 1, failed + u32::from(!succeeded));
                if calls >= rule.calls && failed * 100 >= calls * rule.failed_percent {
                    self.change(&mut inner, rest);
                } else {
                    inner.state = State::Closed { since, calls, failed };
                }
            }
            (State::HalfOpen { succeeded, .. }, true) if succeeded + 1 >= rule.successes => {
                self.change(&mut inner, State::Closed { since: now, calls: 0, failed: 0 });
            }
            (State::HalfOpen { left, succeeded }, true) => {
                inner.state = State::HalfOpen { left, succeeded: succeeded + 1 };
            }
            (State::HalfOpen { .. }, false) => self.change(&mut inner, rest),
            // No call begins while it is open.
            (State::Open { .. }, _) => {}
        }
    }

    /// Another one may see in its place.
    fn forgotten(&self, turn: u64) {
        let mut inner = self.lock();
        if inner.turn == turn
            && let State::HalfOpen { left, .. } = &mut inner.state
        {
            *left += 1;
        }
    }

    fn change(&self, inner: &mut Inner, to: State) {
        let (name, number) = match to {
            State::Closed { .. } => ("closed", 0),
            State::HalfOpen { .. } => ("half open", 1),
            State::Open { .. } => ("open", 2),
        };
        match to {
            State::Open { .. } => warn!(target = self.target, rest = ?self.rule.rest, "breaker {name}"),
            _ => info!(target = self.target, "breaker {name}"),
        }
        if let Some(gauge) = &self.gauge {
            gauge.set(number);
        }
        inner.state = to;
        inner.turn += 1;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Call<'_> {
    /// Says whether the dependency did its part, whatever its answer was.
    pub fn ended(mut self, succeeded: bool) {
        if let Some(breaker) = self.breaker.take() {
            breaker.ended(self.turn, succeeded);
        }
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if let Some(breaker) = self.breaker {
            breaker.forgotten(self.turn);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn call(breaker: &Breaker, succeeds: bool) -> bool {
        breaker.enter().map(|call| call.ended(succeeds)).is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn opens_when_half_of_ten_fail_and_closes_after_two_successes() {
        let gauge = IntGauge::new("g", "g").unwrap();
        let breaker = Breaker::new("queue", Rule::QUEUE, Some(gauge.clone()));
        for n in 0..10 {
            assert!(call(&breaker, n % 2 == 0), "call {n}");
        }
        assert!(!call(&breaker, true));
        breaker.show();
        assert_eq!(gauge.get(), 2);
        advance(Duration::from_secs(5)).await;
        breaker.show();
        assert_eq!(gauge.get(), 1, "nobody has called, and it would let some through");
        assert!(call(&breaker, false));
        assert!(!call(&breaker, true), "one failure opens it again");
        advance(Duration::from_secs(5)).await;
        let (one, two) = (breaker.enter().unwrap(), breaker.enter().unwrap());
        assert!(breaker.enter().is_err(), "no more than needed are let through");
        drop(two);
        let two = breaker.enter().expect("one that was not heard of makes room for another");
        one.ended(true);
        assert_eq!(gauge.get(), 1);
        two.ended(true);
        assert_eq!(gauge.get(), 0);
        assert!(call(&breaker, true));
    }

    #[tokio::test(start_paused = true)]
    async fn calls_from_before_it_opened_say_nothing_of_how_it_is_now() {
        let breaker = Breaker::new("queue", Rule::QUEUE, None);
        let [late, lost] = [breaker.enter().unwrap(), breaker.enter().unwrap()];
        for _ in 0..10 {
            assert!(call(&breaker, false));
        }
        advance(Duration::from_secs(5)).await;
        let one = breaker.enter().unwrap();
        late.ended(false);
        drop(lost);
        let two = breaker.enter().expect("it did not open again");
        assert!(breaker.enter().is_err(), "and lets no more through");
        one.ended(true);
        two.ended(true);
        assert!(call(&breaker, true));
    }

    #[tokio::test(start_paused = true)]
    async fn few_calls_and_old_ones_say_nothing() {
        let breaker = Breaker::new("queue", Rule::QUEUE, None);
        for _ in 0..9 {
            assert!(call(&breaker, false));
        }
        advance(WINDOW + Duration::from_secs(1)).await;
        for _ in 0..9 {
            assert!(call(&breaker, false));
        }
        assert!(breaker.enter().is_ok());
    }
}
