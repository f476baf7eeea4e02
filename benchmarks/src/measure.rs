//! What a process and its children take from the machine, as the kernel counts it in `/proc` (see proc(5)).

use std::{collections::VecDeque, fs, future::Future, pin::pin, time::Duration};

use anyhow::Context as _;
use tokio::time::{MissedTickBehavior, interval};

/// How often memory is looked at.
const SAMPLE_EVERY: Duration = Duration::from_millis(50);
/// Where `utime` and `stime` stand in `/proc/PID/stat`, counted after the command's name (fields 14 and 15).
const USER_TIME: usize = 11;
const SYSTEM_TIME: usize = 12;

/// Processes with all their children and theirs.
#[derive(Clone, Debug)]
pub(crate) struct Tree(Vec<u32>);

impl Tree {
    /// The trees below these processes.
    pub(crate) fn of(pids: impl IntoIterator<Item = u32>) -> Self {
        Self(pids.into_iter().collect())
    }

    /// The processes first, then those that their main threads have started, and so on, as far as they still live.
    pub(crate) fn pids(&self) -> Vec<u32> {
        let mut found = Vec::new();
        let mut next = VecDeque::from(self.0.clone());
        while let Some(pid) = next.pop_front() {
            found.push(pid);
            let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
            next.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
        found
    }

    /// CPU seconds, in user and kernel, since the processes of the tree began; to the kernel's tick of 10 ms.
    ///
    /// # Errors
    /// When a process at its root is gone. A child that ends meanwhile counts as nothing.
    pub(crate) fn cpu_seconds(&self) -> anyhow::Result<f64> {
        let of = |pid: u32| cpu_seconds(&format!("/proc/{pid}/stat"));
        let roots = self.0.iter().map(|root| of(*root)).sum::<anyhow::Result<f64>>()?;
        let children = self.pids().into_iter().skip(self.0.len());
        Ok(roots + children.filter_map(|pid| of(pid).ok()).sum::<f64>())
    }

    /// Bytes of memory in use (`VmRSS`), summed over the tree; what its processes share counts for each. Zero when all are gone.
    pub(crate) fn resident_bytes(&self) -> u64 {
        self.pids().into_iter().filter_map(resident_bytes).sum()
    }
}

/// Bytes in MiB.
pub(crate) fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// CPU seconds of the load generator itself.
///
/// # Errors
/// When `/proc` is not there.
pub(crate) fn own_cpu_seconds() -> anyhow::Result<f64> {
    cpu_seconds("/proc/self/stat")
}

fn own_resident_bytes() -> u64 {
    resident_bytes(std::process::id()).unwrap_or_default()
}

/// The most bytes of memory in use, looked at every 50 ms.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Peak {
    /// By what is measured.
    pub subject: u64,
    /// By the load generator.
    pub own: u64,
}

impl Peak {
    fn look(&mut self, tree: &Tree) {
        self.subject = self.subject.max(tree.resident_bytes());
        self.own = self.own.max(own_resident_bytes());
    }
}

/// Waits for `work`, and says how much memory `tree` had in use at most meanwhile.
pub(crate) async fn peak_during<F: Future>(tree: Tree, work: F) -> (F::Output, Peak) {
    let mut work = pin!(work);
    let mut ticks = interval(SAMPLE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut peak = Peak::default();
    loop {
        tokio::select! {
            biased;
            output = &mut work => {
                peak.look(&tree);
                return (output, peak);
            }
            _ = ticks.tick() => peak.look(&tree),
        }
    }
}

fn cpu_seconds(stat: &str) -> anyhow::Result<f64> {
    let text = fs::read_to_string(stat).with_context(|| format!("read {stat}"))?;
    let ticks = cpu_ticks(&text).with_context(|| format!("understand {stat}"))?;
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// User and kernel time of a `stat` line. The command's name may itself have spaces and parentheses.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(USER_TIME).take(SYSTEM_TIME - USER_TIME + 1);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn resident_bytes(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use tokio::time::Instant;

    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let line = "7 (a) b) (c)) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 9 9 20 0 1 0 100 0 0";
        assert_eq!(cpu_ticks(line), Some(300));
    }

    #[test]
    fn a_child_belongs_to_the_tree_while_it_lives() {
        let mut parent = Command::new("sh").args(["-c", "sleep 60 & wait"]).spawn().unwrap();
        let tree = Tree::of([parent.id()]);
        let deadline = Instant::now() + Duration::from_secs(10);
        while tree.pids().len() < 2 && Instant::now() < deadline {
            std::thread::yield_now();
        }
        let family = tree.pids();
        let resident = tree.resident_bytes();
        for pid in family.iter().rev() {
            let pid = rustix::process::Pid::from_raw(i32::try_from(*pid).unwrap()).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        }
        parent.wait().unwrap();
        assert_eq!(family.len(), 2);
        assert!(resident > 0);
        assert!(tree.cpu_seconds().is_err(), "the root is gone");
    }
}
