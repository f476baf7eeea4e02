//! How a run ended: the last lines, and whether all is stored.

use std::{fmt, process::ExitCode, time::Duration};

use super::words::{bytes, count, rate};

/// How many failures are listed by name.
pub(super) const LISTED: usize = 20;

/// The sums of a run.
#[derive(Clone, Debug, Default)]
pub(super) struct Summary {
    /// Somebody ended it before it was done.
    pub(super) interrupted: bool,
    /// Acknowledged in this run; their job is on the queue, or will be.
    pub(super) stored: u64,
    /// Of these, acknowledged while the server's queue could not be reached.
    pub(super) deferred: u64,
    /// Acknowledged by an earlier run, as the manifest says.
    pub(super) before: u64,
    pub(super) failed: u64,
    /// Found, but neither stored nor failed when the run ended.
    pub(super) left: u64,
    pub(super) passed_over: u64,
    /// Of what is stored.
    pub(super) bytes: u64,
    /// How often the server said "not now", and was waited for.
    pub(super) refusals: u64,
    /// Tries that came to nothing and were made again.
    pub(super) faults: u64,
    pub(super) took: Duration,
    /// The first of those that failed, with the reason.
    pub(super) failures: Vec<String>,
}

impl Summary {
    /// Success only if all that was named is stored.
    pub(super) fn exit_code(&self) -> ExitCode {
        if self.is_complete() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn is_complete(&self) -> bool {
        !self.interrupted && self.failed == 0 && self.left == 0
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { interrupted, stored, deferred, before, failed, left, passed_over, .. } = self;
        let Self { bytes: sent, refusals, faults, took, failures, .. } = self;
        if *interrupted {
            writeln!(f, "interrupted; run it again to go on")?;
        }
        let files = count(*stored, "file", "files");
        write!(f, "{files} stored, {before} done before, {failed} failed, {passed_over} passed over")?;
        writeln!(f, "{}", if *left > 0 { format!(", {left} found and not sent") } else { String::new() })?;
        let (sum, rate) = (bytes(*sent), rate(*sent, *took));
        let refusals = count(*refusals, "refusal", "refusals");
        let faults = count(*faults, "try", "tries");
        writeln!(
            f,
            "{sum} in {:.1} s, {rate}; {refusals} waited out, {faults} made again",
            took.as_secs_f64()
        )?;
        if *deferred > 0 {
            writeln!(
                f,
                "{deferred} of the stored are deferred: safe, and listed once the server reaches its queue"
            )?;
        }
        if failures.is_empty() {
            return Ok(());
        }
        writeln!(f, "failed:")?;
        failures.iter().try_for_each(|line| writeln!(f, "  {line}"))?;
        let more = failed.saturating_sub(failures.len() as u64);
        if more > 0 { writeln!(f, "  and {more} more") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_all_that_was_done_and_what_was_not() {
        let done = Summary {
            stored: 2,
            bytes: 3_000_000,
            refusals: 1,
            took: Duration::from_secs(2),
            ..Summary::default()
        };
        assert!(done.is_complete());
        assert_eq!(
            done.to_string(),
            "2 files stored, 0 done before, 0 failed, 0 passed over\n\
             3.0 MB in 2.0 s, 1.5 MB/s; 1 refusal waited out, 0 tries made again\n"
        );
        let failures = vec!["a: no".to_owned(), "b: no".to_owned()];
        let failed = Summary { failed: 5, left: 1, deferred: 1, interrupted: true, failures, ..done };
        let text = failed.to_string();
        assert!(text.starts_with("interrupted") && text.contains(", 1 found and not sent\n"), "{text}");
        assert!(text.contains("1 of the stored are deferred"), "{text}");
        assert!(text.ends_with("failed:\n  a: no\n  b: no\n  and 3 more\n"), "{text}");
    }

    #[test]
    fn all_must_be_stored_for_success() {
        for short in [
            Summary { interrupted: true, ..Summary::default() },
            Summary { failed: 1, ..Summary::default() },
            Summary { left: 1, ..Summary::default() },
        ] {
            assert!(!short.is_complete(), "{short:?}");
        }
        assert!(Summary { before: 9, passed_over: 3, ..Summary::default() }.is_complete());
    }
}
