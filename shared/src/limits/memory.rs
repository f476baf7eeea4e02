//! How much memory the process has, and how much of it is in use.
//!
//! In a control group its limit counts, and its working set: what is charged to it without the page cache that the kernel can take
//! back at once (`current - inactive_file`, as the kubelet computes it). Socket buffers are in it. Elsewhere the machine counts.

use std::path::{Path, PathBuf};

/// Memory in use, and its limit, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemoryUse {
    /// The working set.
    pub used: u64,
    /// What it may grow to.
    pub limit: u64,
}

impl MemoryUse {
    /// The part in use, 0 to 1.
    #[expect(clippy::cast_precision_loss, reason = "a ratio needs no more than 52 bits")]
    pub fn ratio(self) -> f64 {
        if self.limit == 0 { 0.0 } else { self.used as f64 / self.limit as f64 }
    }
}

/// Reads how much memory is in use: of the tightest control group, version 2 or 1, else of the machine.
pub fn read_memory() -> MemoryUse {
    let machine = machine();
    let grouped = cgroup(
        Path::new("/sys/fs/cgroup"),
        &std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default(),
    );
    match grouped {
        Some(group) if group.limit < machine.limit => group,
        _ => machine,
    }
}

fn machine() -> MemoryUse {
    let Ok(mut system) = sysinfo::System::new() else { return MemoryUse { used: 0, limit: 0 } };
    system.refresh_memory_specifics(sysinfo::MemoryRefreshKind::nothing().with_ram());
    let limit = system.total_memory();
    MemoryUse { used: limit.saturating_sub(system.available_memory()), limit }
}

/// The tightest group on the way from this process's group up to the root.
fn cgroup(root: &Path, membership: &str) -> Option<MemoryUse> {
    let mut tightest: Option<MemoryUse> = None;
    for line in membership.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?.trim_start_matches('/'));
        let (base, version) = match controllers {
            "" => (root.to_owned(), &V2),
            list if list.split(',').any(|name| name == "memory") => (root.join("memory"), &V1),
            _ => continue,
        };
        for folder in base.join(path).ancestors().take_while(|folder| folder.starts_with(&base)) {
            if let Some(group) = version.read(folder)
                && tightest.is_none_or(|known| group.limit < known.limit)
            {
                tightest = Some(group);
            }
        }
    }
    tightest
}

/// The names of one version's files.
struct Version {
    limit: &'static str,
    current: &'static str,
    cache: &'static str,
}

const V2: Version = Version { limit: "memory.max", current: "memory.current", cache: "inactive_file" };
const V1: Version = Version {
    limit: "memory.limit_in_bytes",
    current: "memory.usage_in_bytes",
    cache: "total_inactive_file",
};

impl Version {
    fn read(&self, folder: &Path) -> Option<MemoryUse> {
        let number = |path: PathBuf| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
        let limit = number(folder.join(self.limit))?;
        let current = number(folder.join(self.current))?;
        let stat = std::fs::read_to_string(folder.join("memory.stat")).ok()?;
        let cache = stat.lines().find_map(|line| line.strip_prefix(self.cache)?.trim().parse::<u64>().ok());
        Some(MemoryUse { used: current.saturating_sub(cache.unwrap_or(0)), limit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(folder: &Path, files: &[(&str, &str)]) {
        std::fs::create_dir_all(folder).unwrap();
        for (name, content) in files {
            std::fs::write(folder.join(name), content).unwrap();
        }
    }

    #[test]
    fn page_cache_does_not_count_and_the_tightest_group_does() {
        let root = tempfile::tempdir().unwrap();
        group(
            &root.path().join("pod"),
            &[
                ("memory.max", "1000\n"),
                ("memory.current", "900\n"),
                ("memory.stat", "anon 300\ninactive_file 600\n"),
            ],
        );
        group(
            &root.path().join("pod/box"),
            &[("memory.max", "max\n"), ("memory.current", "500\n"), ("memory.stat", "inactive_file 1\n")],
        );
        assert_eq!(cgroup(root.path(), "0::/pod/box\n"), Some(MemoryUse { used: 300, limit: 1000 }));
    }

    #[test]
    fn version_1_is_read_too() {
        let root = tempfile::tempdir().unwrap();
        group(
            &root.path().join("memory/box"),
            &[
                ("memory.limit_in_bytes", "800\n"),
                ("memory.usage_in_bytes", "700\n"),
                ("memory.stat", "cache 9\ntotal_inactive_file 100\n"),
            ],
        );
        assert_eq!(
            cgroup(root.path(), "9:cpu,memory:/box\n1:name=systemd:/x\n"),
            Some(MemoryUse { used: 600, limit: 800 })
        );
    }

    #[test]
    fn the_machine_has_memory() {
        let memory = read_memory();
        assert!(memory.limit > 0 && memory.used > 0 && memory.ratio() < 1.0, "{memory:?}");
    }
}
