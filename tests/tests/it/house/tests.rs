//! Each rule can be broken, and tells where.

use super::{
    code::{bare, paths, production},
    rules::violations,
};

/// Checks that this text, at this path, breaks rules in these lines only.
#[track_caller]
fn breaks(path: &str, text: &str, lines: &[usize]) {
    let broken = violations(path, text);
    let found: Vec<_> = broken.iter().map(|violation| violation.line).collect();
    assert_eq!(found, lines, "{path}: {text}\n{broken:?}");
}

fn joined(text: &str) -> Vec<String> {
    paths(&bare(text)).into_iter().map(|(_, path)| path.join("::")).collect()
}

#[test]
fn programs_know_shared_alone_and_shared_knows_nobody() {
    let manifest = "[package]\nname = \"x\"\n[dependencies]\nheadworks-shared = 1\n[dev-dependencies]\nheadworks-catalog = 1";
    breaks("ingest/Cargo.toml", manifest, &[6]);
    breaks("processor/Cargo.toml", manifest, &[6]);
    breaks("shared/Cargo.toml", manifest, &[4, 6]);
    breaks("cli/Cargo.toml", manifest, &[]);
    breaks("catalog/Cargo.toml", "[dependencies", &[1]);
}

#[test]
fn seams_do_not_import_each_other() {
    let text =
        "use crate::{\n    model::Job,\n    storage::{Key, Prefix},\n};\nfn f() { crate::meta::deletion() }";
    breaks("shared/src/queue/mod.rs", text, &[3, 3, 5]);
    breaks("shared/src/storage/disk/mod.rs", text, &[5]);
    breaks("shared/src/meta/sqlite/tests.rs", text, &[3, 3]);
    breaks("shared/src/audit.rs", text, &[]);
    breaks("shared/src/metadata.rs", text, &[]);
}

#[test]
fn the_model_knows_no_io_and_nobody() {
    for bad in [
        "use tokio::time::sleep;",
        "use std::{fmt, fs};",
        "use std::net::SocketAddr;",
        "use crate::clock::Clock;",
        "fn f() { std::io::stdout(); }",
        "#[cfg(test)] mod tests { use crate::queue; }",
    ] {
        breaks("shared/src/model/job.rs", bad, &[1]);
        breaks("shared/src/ops.rs", bad, &[]);
    }
    breaks(
        "shared/src/model/job.rs",
        "use std::{fmt, sync::Arc};\nuse crate::model::Scope;\nuse super::fs;",
        &[],
    );
}

#[test]
fn what_has_a_home_stays_there() {
    for (bad, home) in [
        ("use rusqlite::Row;", "shared/src/sqlite/readers.rs"),
        ("fn f() -> rusqlite::Result<()> {}", "shared/src/meta/sqlite/rows.rs"),
        ("use crate::queue::{self, sqlite::SqliteQueue};", "shared/src/stack.rs"),
        ("use crate::queue::redis::RedisQueue;", "shared/src/stack.rs"),
        ("use deadpool_redis::Manager;", "shared/src/queue/redis/connections.rs"),
        ("let client = redis::Client::open(url);", "shared/src/queue/redis/server.rs"),
        ("let blobs = DiskBlobs::open();", "shared/src/storage/disk/mod.rs"),
        ("let x = std::env::var(\"X\");", "shared/src/config/load.rs"),
        ("use std::env::{self, vars_os};", "shared/src/config/mod.rs"),
        ("tokio::spawn(async {});", "shared/src/shutdown.rs"),
        ("use tokio::{task::{self, JoinSet}, time};", "shared/src/shutdown.rs"),
        ("let at = SystemTime::now();", "shared/src/clock.rs"),
        ("let at = time::OffsetDateTime::now_utc();", "shared/src/clock.rs"),
    ] {
        for away in ["shared/src/ops.rs", "ingest/src/lib.rs", "cli/src/main.rs", "shared/src/clock_tower.rs"]
        {
            breaks(away, bad, &[1]);
            breaks(away, &format!("\n#[cfg(test)]\nmod tests {{ {bad} }}\n{bad}"), &[4]);
            breaks(away, &format!("// {bad}\n/// {bad}\nconst X: &str = r#\"{bad}\"#;"), &[]);
        }
        for allowed in
            [home, "shared/src/ops/tests.rs", "processor/src/testing/mod.rs", "benchmarks/src/main.rs"]
        {
            breaks(allowed, bad, &[]);
        }
    }
}

#[test]
fn files_have_an_end() {
    breaks("catalog/src/lib.rs", &"\n".repeat(400), &[]);
    breaks("catalog/src/lib.rs", &"\n".repeat(401), &[401]);
    breaks("tests/src/lib.rs", &"\n".repeat(401), &[401]);
    breaks("docs/errors.md", &"\n".repeat(401), &[]);
}

#[test]
fn what_is_not_done_does_not_land() {
    for word in [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")] {
        for path in ["cli/src/main.rs", "tests/src/raw.rs", "README.md", "config/default.toml", "Makefile"] {
            breaks(path, &format!("\n# {word}: later"), &[2]);
            breaks(path, &format!("\n# {word}S and AT{word}"), &[]);
        }
    }
    breaks("tests/src/raw.rs", "fn f() {\n    unimplemented!(\"later\")\n}", &[2]);
    breaks("shared/src/ops/tests.rs", "fn f() { todo!() }", &[1]);
    breaks("shared/src/ops.rs", "// unimplemented!", &[]);
}

#[test]
fn code_is_told_from_what_is_none() {
    for (text, code) in [
        ("a // b\nc", "a     \nc"),
        ("a /* b /* c */ d\n */ e", "a               \n    e"),
        ("a \"b \\\" // c\" d", "a             d"),
        ("r\"\\\" a r#\"\"x\"# b", "     a           b"),
        ("br\"x\\\" var()", "b      var()"),
        ("'\"' a '\\'' 'b' <'c> 'd: x", "    a              <'c> 'd: x"),
    ] {
        let shown = bare(text);
        assert_eq!(shown.replace(' ', ""), code.replace(' ', ""), "{text}");
        assert_eq!(shown.lines().count(), text.lines().count(), "{text}");
    }
}

#[test]
fn what_is_for_tests_is_cut_out_and_nothing_else() {
    let text =
        "#[cfg(unix)] a;\n#[cfg(test)]\n#[x] mod b { c {} d; }\ne; #[cfg(any(test, y))] mod f; g { h }";
    let kept = production(text);
    assert_eq!(kept.split_whitespace().collect::<Vec<_>>(), ["#[cfg(unix)]", "a;", "e;", "g", "{", "h", "}"]);
    assert_eq!(kept.lines().count(), text.lines().count());
}

#[test]
fn paths_are_read_out_of_trees() {
    assert_eq!(
        joined("use a::{b, c::{self, d}, e as f}; fn g() { h::i(j) }"),
        ["use", "a::b", "a::c::self", "a::c::d", "a::e", "a::as", "a::f", "fn", "g", "h::i", "j"]
    );
    let lines: Vec<_> = paths("a::{\n b,\n c::\n d}\ne").into_iter().map(|(line, _)| line).collect();
    assert_eq!(lines, [2, 3, 5]);
}
