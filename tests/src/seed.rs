//! The number that a random test begins with: printed, so that a failure can be played again.

use anyhow::{Context as _, Result};

use crate::binary::environment;

/// A new seed, or the one in `HEADWORKS_SEED`.
///
/// # Errors
/// When what is given is no number.
pub fn seed() -> Result<u64> {
    let seed = match environment("HEADWORKS_SEED") {
        Some(given) => given.parse().with_context(|| format!("HEADWORKS_SEED={given}"))?,
        None => fastrand::u64(..),
    };
    eprintln!("play it again with HEADWORKS_SEED={seed}");
    Ok(seed)
}
