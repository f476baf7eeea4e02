//! How long to wait before trying again: exponential, with full jitter, so that those who failed together do not come back together.
//! <https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>

use std::time::Duration;

/// The limits of a row of waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Backoff {
    /// The longest wait after the first failure; doubled by each further one.
    pub first: Duration,
    /// The longest wait of all.
    pub most: Duration,
}

impl Backoff {
    /// For calls to a dependency, within one attempt at a job.
    pub const CALL: Self = Self { first: Duration::from_millis(50), most: Duration::from_secs(2) };
    /// For a process whose dependencies are not there yet.
    pub const START: Self = Self { first: Duration::from_millis(200), most: Duration::from_secs(5) };
    /// For a job that is put back on the queue.
    pub const JOB: Self = Self { first: Duration::from_secs(1), most: Duration::from_secs(300) };

    /// The longest wait after `failures` failures in a row, at least one.
    fn ceiling(self, failures: u32) -> Duration {
        let factor = 1u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        self.first.saturating_mul(factor).min(self.most)
    }

    /// A wait after `failures` failures in a row: anything from nothing to the ceiling.
    pub fn wait(self, failures: u32) -> Duration {
        self.ceiling(failures).mul_f64(fastrand::f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_most() {
        let ceilings =
            [1, 2, 3, 9, 10, 40, u32::MAX].map(|failures| Backoff::JOB.ceiling(failures).as_secs());
        assert_eq!(ceilings, [1, 2, 4, 256, 300, 300, 300]);
        assert!((0..1000).all(|_| Backoff::CALL.wait(3) <= Duration::from_millis(200)));
    }
}
