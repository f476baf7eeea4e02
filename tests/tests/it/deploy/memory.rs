//! What an ingest is given must hold all that its settings allow.

use anyhow::{Result, ensure};
use headworks_shared::config::{ByteSize, Settings};

/// A process that does nothing, and what does not grow with its uploads.
const BASE: u64 = 32 << 20;

/// As measured: benchmarks/results/stall.md, S3 with the length told, and a seventh.
const STREAM: u64 = 140 << 10;

/// All its streams and its whole buffer lie below the mark at which a gate that shut opens again.
pub(super) fn holds(limit: u64, settings: &Settings) -> Result<()> {
    let limits = &settings.ingest.limits;
    let most = BASE + u64::try_from(limits.streams)? * STREAM + limits.buffer.0;
    let open_below = limit / 100 * u64::from(settings.memory.open_below.0);
    let [most, limit, open_below] = [most, limit, open_below].map(ByteSize);
    ensure!(
        most.0 < open_below.0,
        "{most} of streams and buffer, but {limit} open the gate below {open_below} only"
    );
    Ok(())
}

/// A quantity as Kubernetes has it.
pub(super) fn bytes(quantity: &str) -> Result<u64> {
    Ok(format!("{quantity}B").parse::<ByteSize>()?.0)
}
