//! Lets contenders take turns: A B C, A B C, …, so that what else the machine does meanwhile falls on all of them. On a machine that
//! is a guest, what its host takes is no contender's doing, and may be half of a run: such runs are done again.

use std::{
    fmt::Display,
    io::{Write as _, stderr},
};

use anyhow::Context as _;

use crate::machine::CpuTime;

/// The share of the machine's CPU that its host may take during a run that counts.
const MOST_STOLEN: f64 = 0.03;

/// How often a run is done, until one counts; then the least disturbed one does.
const TRIES: usize = 3;

/// What a page says of all this.
pub(crate) const NOTE: &str = "Where the machine is a guest, a run during which its host took more than 3 % of its CPU (`steal` in \
    `/proc/stat`) is done again, up to twice; then the least disturbed one counts.";

/// All runs of each contender.
pub(crate) type Turns<C, S> = Vec<(C, Vec<S>)>;

/// Runs each of the contenders `repetitions` times.
///
/// # Errors
/// The first of a run, with whose it was.
pub(crate) async fn take<C: Copy + Display, S>(
    contenders: &[C],
    repetitions: u16,
    once: impl AsyncFn(C) -> anyhow::Result<S>,
) -> anyhow::Result<Turns<C, S>> {
    let mut all: Turns<C, S> = contenders.iter().map(|&contender| (contender, Vec::new())).collect();
    for repetition in 1..=repetitions {
        for (contender, samples) in &mut all {
            writeln!(stderr(), "{repetition}/{repetitions}: {contender}")?;
            let sample = undisturbed(async || once(*contender).await).await;
            samples.push(sample.with_context(|| format!("measure {contender}"))?);
        }
    }
    Ok(all)
}

async fn undisturbed<S>(once: impl AsyncFn() -> anyhow::Result<S>) -> anyhow::Result<S> {
    let mut best: Option<(f64, S)> = None;
    for _ in 0..TRIES {
        // What earlier runs have left to be written is not this one's to pay for.
        rustix::fs::sync();
        let before = CpuTime::now();
        let sample = once().await?;
        let stolen = before.stolen_since();
        if best.as_ref().is_none_or(|(least, _)| stolen < *least) {
            best = Some((stolen, sample));
        }
        if stolen <= MOST_STOLEN {
            break;
        }
        writeln!(stderr(), "  its host took {:.1} % of the machine meanwhile", stolen * 100.0)?;
    }
    Ok(best.context("no run")?.1)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn each_contender_has_its_runs_and_takes_its_turn() {
        let turn = Cell::new(0);
        let runs = take(&["a", "b"], 3, async |_| Ok(turn.replace(turn.get() + 1))).await.unwrap();
        let of = |n: usize| runs[n].1.clone();
        assert_eq!((of(0).len(), of(1).len()), (3, 3));
        assert!(of(0)[0] < of(1)[0] && of(1)[0] < of(0)[1], "{runs:?}");
    }

    #[tokio::test]
    async fn a_failed_run_says_whose_it_was() {
        let failed = take(&["a"], 1, async |_| anyhow::bail!("gone") as anyhow::Result<()>).await;
        assert_eq!(format!("{:#}", failed.unwrap_err()), "measure a: gone");
    }
}
