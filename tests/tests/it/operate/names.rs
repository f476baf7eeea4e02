//! The names of metrics: those that a system tells, and those that texts speak of.

use std::{collections::BTreeSet, path::PathBuf};

use anyhow::Result;

use super::{at, files, read};

/// Metrics by name, a histogram by that of all of its series.
pub(super) type Names = BTreeSet<String>;

/// What a process tells of: the text format has a line `# TYPE name kind` for each.
pub(super) fn told(metrics: &str) -> Names {
    let types = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    types.map(str::to_owned).collect()
}

/// What our rules record.
pub(super) fn recorded() -> Result<Names> {
    let text = read(&at("deploy/prometheus/rules/recording.yml"))?;
    let names = text.lines().filter_map(|line| line.trim().strip_prefix("- record: "));
    Ok(names.map(str::to_owned).collect())
}

/// Every name in rules, dashboard and pages that is not among `known`, with its place.
pub(super) fn unknown(known: &Names) -> Result<Vec<String>> {
    let mut unknown = Vec::new();
    for path in texts()? {
        for name in named(&read(&path)?) {
            let series = ["_bucket", "_sum", "_count"].iter().find_map(|ending| name.strip_suffix(ending));
            if !known.contains(&name) && !series.is_some_and(|metric| known.contains(metric)) {
                unknown.push(format!("{}: {name}", path.display()));
            }
        }
    }
    Ok(unknown)
}

fn texts() -> Result<Vec<PathBuf>> {
    let mut texts = vec![at("README.md"), at("ARCHITECTURE.md")];
    for (folder, ending) in [
        ("docs", "md"),
        ("docs/adr", "md"),
        ("docs/runbook", "md"),
        ("deploy/prometheus/rules", "yml"),
        ("deploy/prometheus/tests", "yml"),
        ("deploy/grafana/dashboards", "json"),
    ] {
        texts.extend(files(folder, ending)?);
    }
    Ok(texts)
}

/// The words that begin like a metric of ours.
fn named(text: &str) -> Names {
    let word = |one: char| one.is_ascii_alphanumeric() || one == '_' || one == ':';
    let words = text.split(|one: char| !word(one)).map(|name| name.trim_end_matches(':'));
    words
        .filter(|name| name.starts_with("headworks_") || name.starts_with("headworks:"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn names_are_found_in_queries_and_in_prose() {
    let text =
        "rate(headworks_a_total{x=\"y\"}[5m]) / headworks:b:rate5m; `headworks_c`: headworks-d, headworks";
    let names: Vec<_> = named(text).into_iter().collect();
    assert_eq!(names, ["headworks:b:rate5m", "headworks_a_total", "headworks_c"]);
}
