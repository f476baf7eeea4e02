//! What a process and its children take from the machine, as the kernel counts it in `/proc` (see proc(5)).

use std::{collections::VecDeque, fs, future::Future, pin::pin, time::Duration};

use anyhow::Context as _;
use tokio::time::{MissedTickBehavior, interval};

/// How often memory is looked at.
const SAMPLE_EVERY: Duration = Duration::from_millis(50);
/// Where `utime` and `stime` stand in `/proc/PID/stat`, counted after the command's name (fields 14 and 15).
const USER_TIME: usize = 11;
const SYSTEM_TIME: usize = 12;

/// A process with all its children and theirs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tree(u32);

impl Tree {
    /// The tree below `pid`.
    pub(crate) fn of(pid: u32) -> Self {
        Self(pid)
    }

    /// The process first, then those that its main thread and theirs have started and that still live.
    pub(crate) fn pids(self) -> Vec<u32> {
        let mut found = Vec::new();
        let mut next = VecDeque::from([self.0]);
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
    /// When the process at its root is gone. A child that ends meanwhile counts as nothing.
    pub(crate) fn cpu_seconds(self) -> anyhow::Result<f64> {
        let own = cpu_seconds(&format!("/proc/{}/stat", self.0))?;
        let children = self.pids().into_iter().skip(1);
        Ok(own + children.filter_map(|pid| cpu_seconds(&format!("/proc/{pid}/stat")).ok()).sum::<f64>())
    }

    /// Bytes of memory in use (`VmRSS`), summed over the tree; what its processes share counts for each. Zero when all are gone.
    pub(crate) fn resident_bytes(self) -> u64 {
        self.pids().into_iter().filter_map(resident_bytes).sum()
    }
}

/// CPU seconds of the load generator itself.
///
/// # Errors
/// When `/proc` is not there.
pub(crate) fn own_cpu_seconds() -> anyhow::Result<f64> {
    cpu_seconds("/proc/self/stat")
}

/// Waits for `work`, and says how many bytes `tree` had in use at most meanwhile, looked at every 50 ms.
pub(crate) async fn peak_during<F: Future>(tree: Tree, work: F) -> (F::Output, u64) {
    let mut work = pin!(work);
    let mut ticks = interval(SAMPLE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut peak = 0;
    loop {
        tokio::select! {
            biased;
            output = &mut work => return (output, peak.max(tree.resident_bytes())),
            _ = ticks.tick() => peak = peak.max(tree.resident_bytes()),
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
        let tree = Tree::of(parent.id());
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
