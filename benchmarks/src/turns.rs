//! Lets contenders take turns: A B C, A B C, …, so that what else the machine does meanwhile falls on all of them.

use std::{
    fmt::Display,
    io::{Write as _, stderr},
};

use anyhow::Context as _;

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
            // What earlier runs have left to be written is not this one's to pay for.
            rustix::fs::sync();
            samples.push(once(*contender).await.with_context(|| format!("measure {contender}"))?);
        }
    }
    Ok(all)
}
