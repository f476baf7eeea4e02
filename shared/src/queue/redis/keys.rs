//! The names of the keys. All have one hash tag, so that a script may touch all of them, in a cluster too.

use crate::model::Priority;

/// The keys of one queue, in the order in which `scripts/keys.lua` names them.
#[derive(Clone, Debug)]
pub(super) struct Keys([String; 14]);

impl Keys {
    /// The keys of the queue `name`.
    pub(super) fn new(name: &str) -> Self {
        let key = |rest: &str| format!("{{hw:{name}}}:{rest}");
        let of_each = |rest: &str| Priority::ALL.map(|one| key(&format!("{rest}{}", one.as_str())));
        let [high, normal, low] = of_each("");
        let [high_leases, normal_leases, low_leases] = of_each("leases:");
        let [high_delayed, normal_delayed, low_delayed] = of_each("delayed:");
        Self([
            key("queue"),
            key("jobs"),
            key("credits"),
            key("holders"),
            key("bell"),
            high,
            normal,
            low,
            high_leases,
            normal_leases,
            low_leases,
            high_delayed,
            normal_delayed,
            low_delayed,
        ])
    }

    /// All of them, as scripts take them.
    pub(super) fn all(&self) -> &[String] {
        &self.0
    }

    /// Those that `scripts/push_keys.lua` names.
    pub(super) fn of_push(&self, priority: Priority) -> [&str; 6] {
        [0, 1, 2, 3, 4, 5 + priority.index()].map(|at| self.0[at].as_str())
    }

    /// The queue's own facts: its epoch, and whose turn it is.
    pub(super) fn queue(&self) -> &str {
        &self.0[0]
    }

    /// What waiters listen to.
    pub(super) fn bell(&self) -> &str {
        &self.0[4]
    }
}
