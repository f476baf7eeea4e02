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
        Self {
            day: OffsetDateTime::now_utc().date().to_string(),
            kernel: format!("Linux {}", read("/proc/sys/kernel/osrelease").trim()),
            processor: value(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| "unknown".into()),
            cores: thread::available_parallelism().map_or(0, NonZero::get),
            memory_gib: kib(&read("/proc/meminfo"), "MemTotal") as f64 / f64::from(1 << 20),
        }
    }
}

/// The CPU time of all cores since the machine began, in the kernel's ticks.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CpuTime {
    all: u64,
    stolen: u64,
}

impl CpuTime {
    /// Until now; nothing where the kernel does not tell.
    pub(crate) fn now() -> Self {
        Self::of(&fs::read_to_string("/proc/stat").unwrap_or_default())
    }

    /// The share that the machine's host took for others since then (`steal`), from 0 to 1.
    pub(crate) fn stolen_since(self) -> f64 {
        let now = Self::now();
        now.stolen.saturating_sub(self.stolen) as f64 / now.all.saturating_sub(self.all).max(1) as f64
    }

    /// The first line of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq and steal; guests are in user already.
    fn of(stat: &str) -> Self {
        let fields = stat.lines().next().unwrap_or_default().split_whitespace().skip(1).take(8);
        let ticks: Vec<u64> = fields.filter_map(|field| field.parse().ok()).collect();
        Self { all: ticks.iter().sum(), stolen: ticks.get(7).copied().unwrap_or_default() }
    }
}

/// The memory that could be used without swapping, in bytes; 0 where the kernel does not tell.
pub(crate) fn available_memory() -> u64 {
    kib(&fs::read_to_string("/proc/meminfo").unwrap_or_default(), "MemAvailable") << 10
}

fn kib(meminfo: &str, key: &str) -> u64 {
    value(meminfo, key).and_then(|kib| kib.trim_end_matches("kB").trim().parse().ok()).unwrap_or_default()
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
    fn steal_is_the_eighth_field_and_guests_count_once() {
        let CpuTime { all, stolen } = CpuTime::of("cpu  1 2 3 4 5 6 7 8 100 100\ncpu0 1 1 1 1 1 1 1 1 0 0\n");
        assert_eq!((all, stolen), (36, 8));
        assert!((0.0..=1.0).contains(&CpuTime::now().stolen_since()));
    }

    #[test]
    fn the_kernel_tells_what_the_report_says() {
        let machine = Machine::this();
        assert!(machine.cores > 0 && machine.memory_gib > 0.1, "{machine:?}");
        assert!(available_memory() > 0);
        assert!(machine.kernel.len() > "Linux ".len(), "{machine:?}");
    }
}
