//! The scripts: each keeps one invariant, and runs as a whole or not at all. They are files, put together from parts that several share.
//!
//! Those that need memory say so by having no flag, and are refused before their first line when Redis is out of it; those that
//! lead a job out of the queue run all the same, so that a full Redis drains.

use deadpool_redis::redis::Script;

macro_rules! script {
    ($flags:literal, $($part:literal)+) => {
        Script::new(concat!("#!lua", $flags, "\n", $(include_str!(concat!("scripts/", $part, ".lua"))),+))
    };
}

/// The script of a push.
pub(super) fn push() -> Script {
    script!("", "push_keys" "now" "credits" "ring" "push")
}

/// All others; each is loaded when Redis does not know it.
#[derive(Debug)]
pub(super) struct Scripts {
    pub(super) lease: Script,
    pub(super) claim: Script,
    pub(super) done: Script,
    pub(super) extend: Script,
    pub(super) again: Script,
    pub(super) recover: Script,
    pub(super) depth: Script,
    pub(super) found: Script,
    pub(super) reap: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            lease: script!("", "keys" "now" "credits" "lease"),
            claim: script!(" flags=allow-oom", "keys" "now" "ring" "promote" "claim"),
            done: script!(" flags=allow-oom", "keys" "now" "standing" "done"),
            extend: script!(" flags=allow-oom", "keys" "now" "standing" "extend"),
            again: script!(" flags=allow-oom", "keys" "now" "ring" "standing" "again"),
            recover: script!(" flags=allow-oom", "keys" "now" "ring" "recover"),
            depth: script!(" flags=no-writes", "keys" "now" "depth"),
            found: script!(" flags=allow-oom", "keys" "found"),
            reap: script!(" flags=allow-oom", "keys" "reap"),
        }
    }
}
