//! What the figures were measured on.

use std::{fs, num::NonZero, thread};

use time::OffsetDateTime;

/// The machine and the day.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    /// The day (UTC).
    pub day: String,
    /// The kernel's name and version.
    pub kernel: String,
    /// The processor's name.
    pub processor: String,
    /// How many cores this process may use.
    pub cores: usize,
    /// The memory, in GiB.
    pub memory_gib: f64,
}

impl Machine {
    /// This machine, today; what the kernel does not tell is "unknown" or 0.
    pub(crate) fn this() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let memory_kib = value(&read("/proc/meminfo"), "MemTotal").and_then(|total| {
            let kib: f64 = total.trim_end_matches("kB").trim().parse().ok()?;
            Some(kib)
        });
        Self {
            day: OffsetDateTime::now_utc().date().to_string(),
            kernel: format!("Linux {}", read("/proc/sys/kernel/osrelease").trim()),
            processor: value(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| "unknown".into()),
            cores: thread::available_parallelism().map_or(0, NonZero::get),
            memory_gib: memory_kib.unwrap_or_default() / f64::from(1 << 20),
        }
    }
}

/// The first value of `key` in lines of `key : value`.
fn value(text: &str, key: &str) -> Option<String> {
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    lines.find(|(name, _)| name.trim() == key).map(|(_, value)| value.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_what_the_report_says() {
        let machine = Machine::this();
        assert!(machine.cores > 0 && machine.memory_gib > 0.1, "{machine:?}");
        assert!(machine.kernel.len() > "Linux ".len(), "{machine:?}");
    }
}
