//! Waiting for a state, with a deadline, instead of for a time.

use std::{fmt::Debug, time::Duration};

use anyhow::{Result, bail};
use tokio::time::{Instant, sleep};

/// Long enough for anything that a busy machine does in passing; what takes longer has a deadline of its own.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// How often a state is looked at.
const EVERY: Duration = Duration::from_millis(10);

/// Looks until the state is as it should be, and hands it out.
///
/// # Errors
/// When it cannot be looked at, or is not there by the deadline: then with what was seen last.
pub async fn until<T: Debug>(
    what: &str,
    within: Duration,
    mut look: impl AsyncFnMut() -> Result<T>,
    good: impl Fn(&T) -> bool,
) -> Result<T> {
    let deadline = Instant::now() + within;
    loop {
        let state = look().await?;
        if good(&state) {
            return Ok(state);
        }
        if Instant::now() >= deadline {
            bail!("waited {within:?} for {what}; last seen: {state:#?}");
        }
        sleep(EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn says_what_was_seen_last() {
        let mut count = 0;
        let mut next = async || {
            count += 1;
            Ok(count)
        };
        assert_eq!(until("three", DEADLINE, &mut next, |count| *count == 3).await.unwrap(), 3);
        let error = until("nothing", Duration::from_millis(35), &mut next, |_| false).await.unwrap_err();
        assert_eq!(error.to_string(), "waited 35ms for nothing; last seen: 8");
    }
}
