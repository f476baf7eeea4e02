//! The rules, each a pure function of one file.

use std::fmt;

use super::code::{bare, paths, production};

/// A rule that is broken, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Violation {
    pub(super) path: String,
    /// Counted from 1.
    pub(super) line: usize,
    pub(super) rule: &'static str,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.rule)
    }
}

/// The programs, and what they share.
const PROGRAMS: [&str; 3] = ["ingest", "processor", "catalog"];

/// What is shipped; the others test it and measure it.
const PRODUCT: [&str; 5] = ["shared", "ingest", "processor", "catalog", "cli"];

/// Each lies in a folder of `shared/src`.
const SEAMS: [&str; 3] = ["storage", "queue", "meta"];

/// The longest file, in lines.
const MAX_LINES: usize = 400;

/// What must not land: put in pieces, so that it is not found here.
const UNFINISHED: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];

/// A name that has one home: nobody else may say it.
struct Home {
    rule: &'static str,
    /// A path is meant when one of these stands in it as a whole.
    names: &'static [&'static [&'static str]],
    /// Files, or the beginnings of their paths.
    at: &'static [&'static str],
}

const HOMES: [Home; 8] = [
    Home {
        rule: "rusqlite stays within the folders that are made of it",
        names: &[&["rusqlite"]],
        at: &["shared/src/sqlite", "shared/src/queue/sqlite", "shared/src/meta/sqlite"],
    },
    Home {
        rule: "object_store stays within the folder that is made of it",
        names: &[&["object_store"]],
        at: &["shared/src/storage/cloud"],
    },
    Home {
        rule: "Redis stays within its folder",
        names: &[&["deadpool_redis"], &["redis", "Client"], &["redis", "cmd"]],
        at: &["shared/src/queue/redis"],
    },
    Home {
        rule: "PostgreSQL's words stay within the folder that is made of them",
        names: &[&["tokio_postgres"], &["deadpool_postgres"], &["tokio_postgres_rustls"]],
        at: &["shared/src/meta/postgres"],
    },
    Home {
        rule: "only stack.rs chooses backends",
        names: &[
            &["DiskBlobs"],
            &["CloudBlobs"],
            &["MemoryQueue"],
            &["SqliteQueue"],
            &["RedisQueue"],
            &["SqliteMeta"],
            &["PostgresMeta"],
        ],
        at: &[
            "shared/src/stack.rs",
            "shared/src/storage/cloud",
            "shared/src/storage/disk",
            "shared/src/queue/memory",
            "shared/src/queue/redis",
            "shared/src/queue/sqlite",
            "shared/src/meta/sqlite",
            "shared/src/meta/postgres",
        ],
    },
    Home {
        rule: "only config reads the environment",
        names: &[&["env", "var"], &["env", "vars"], &["env", "var_os"], &["env", "vars_os"]],
        at: &["shared/src/config"],
    },
    Home {
        rule: "only shutdown.rs spawns tasks",
        names: &[&["tokio", "spawn"], &["task", "spawn"], &["JoinSet"], &["runtime", "Handle"]],
        at: &["shared/src/shutdown.rs"],
    },
    Home {
        rule: "only clock.rs reads wall time",
        names: &[
            &["SystemTime", "now"],
            &["Utc", "now"],
            &["now_utc"],
            &["now_local"],
            &["UtcDateTime", "now"],
        ],
        at: &["shared/src/clock.rs"],
    },
];

/// What `shared/src/model` may not know, beside the rest of the crate.
const IO: [&[&str]; 12] = [
    &["tokio"],
    &["hyper"],
    &["rusqlite"],
    &["rustix"],
    &["socket2"],
    &["tracing"],
    &["std", "env"],
    &["std", "fs"],
    &["std", "io"],
    &["std", "net"],
    &["std", "process"],
    &["std", "thread"],
];

/// Every rule that a file breaks; `path` is relative to the root of the tree.
pub(super) fn violations(path: &str, text: &str) -> Vec<Violation> {
    let mut broken = unfinished(text);
    if path.ends_with("Cargo.toml") {
        broken.extend(dependencies(path, text));
    } else if path.ends_with(".rs") {
        let lines = text.lines().count();
        broken.extend((lines > MAX_LINES).then_some((lines, "no file has more than 400 lines")));
        broken.extend(names(path, text));
    }
    let violation = |(line, rule)| Violation { path: path.to_owned(), line, rule };
    broken.into_iter().map(violation).collect()
}

/// A line and the rule that is broken there.
type Broken = (usize, &'static str);

fn unfinished(text: &str) -> Vec<Broken> {
    let words =
        |line: &str| line.split(|one: char| !one.is_alphanumeric()).any(|word| UNFINISHED.contains(&word));
    let lines = text.lines().enumerate().filter(|(_, line)| words(line));
    lines.map(|(at, _)| (at + 1, "what is not done does not land")).collect()
}

/// Who may know whom, as Cargo knows it.
fn dependencies(path: &str, text: &str) -> Vec<Broken> {
    let name = path.split('/').next().unwrap_or_default();
    let Ok(manifest) = text.parse::<toml::Table>() else { return vec![(1, "a manifest is TOML")] };
    let tables = ["dependencies", "dev-dependencies", "build-dependencies"];
    let named =
        tables.iter().filter_map(|table| manifest.get(*table)?.as_table()).flat_map(|table| table.keys());
    let line =
        |key: &str| text.lines().position(|line| line.trim_start().starts_with(key)).unwrap_or_default();
    let mut broken = Vec::new();
    for key in named {
        let Some(other) = key.strip_prefix("headworks-") else { continue };
        if PROGRAMS.contains(&name) && other != "shared" {
            broken.push((line(key) + 1, "ingest, processor and catalog know shared alone"));
        } else if name == "shared" {
            broken.push((line(key) + 1, "shared knows no other crate"));
        }
    }
    broken
}

/// What a file of Rust may name.
fn names(path: &str, text: &str) -> Vec<Broken> {
    let all = bare(text);
    let mut broken = Vec::new();
    let of_the_seams = |seam: &&&str| path.strip_prefix("shared/src/").is_some_and(|rest| within(rest, seam));
    let seam = SEAMS.iter().find(of_the_seams);
    let model = path.starts_with("shared/src/model/");
    for (line, named) in paths(&all) {
        let own = named.first().filter(|first| *first == "crate").and(named.get(1)).map(String::as_str);
        if seam.is_some_and(|seam| own.is_some_and(|other| other != *seam && SEAMS.contains(&other))) {
            broken.push((line, "seams do not import each other"));
        }
        if model && (own.is_some_and(|other| other != "model") || IO.iter().any(|io| says(&named, io))) {
            broken.push((line, "model knows no I/O, no runtime, no clock and nobody else"));
        }
        if matches!(named.as_slice(), [one] if one == "unimplemented" || one == "todo") {
            broken.push((line, "what is not done does not land"));
        }
    }
    let product = path.split('/').next().is_some_and(|name| PRODUCT.contains(&name));
    if product && !is_test(path) {
        for (line, named) in paths(&production(&all)) {
            let away = |home: &&Home| {
                home.names.iter().any(|name| says(&named, name)) && !home.at.iter().any(|at| within(path, at))
            };
            broken.extend(HOMES.iter().filter(away).map(|home| (line, home.rule)));
        }
    }
    broken
}

/// Whether a path has these words one behind the other.
fn says(named: &[String], words: &[&str]) -> bool {
    named.windows(words.len()).any(|some| some == words)
}

/// Whether a path is the file or in the folder of this name: `a/b` has `a/b.rs` and `a/b/c.rs`, and not `a/bc.rs`.
fn within(path: &str, home: &str) -> bool {
    path.strip_prefix(home).is_some_and(|rest| rest.is_empty() || rest == ".rs" || rest.starts_with('/'))
}

/// Whether a whole file is there for tests only.
fn is_test(path: &str) -> bool {
    let parts = path.split('/').map(|part| part.trim_end_matches(".rs"));
    parts.skip(1).any(|part| ["tests", "testing", "conformance"].contains(&part))
}

/// The places that the rules name.
pub(super) fn places() -> impl Iterator<Item = String> {
    let seams = SEAMS.iter().map(|seam| format!("shared/src/{seam}"));
    let crates = PRODUCT.iter().map(|name| format!("{name}/Cargo.toml"));
    let homes = HOMES.iter().flat_map(|home| home.at).map(|at| (*at).to_owned());
    seams.chain(crates).chain(homes).chain(["shared/src/model".to_owned()])
}
