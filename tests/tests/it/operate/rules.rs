//! The rules by themselves: `promtool` is content, and no alert is without its page, a case in which it fires, and one in which it does not.

use std::{collections::BTreeSet, process::Command};

use anyhow::{Context as _, Result, ensure};
use headworks_tests::servers::prometheus::{promtool, shipped};

use super::{at, files, read};

/// Where the pages are, for a person with a telephone.
const PAGES: &str = "https://github.com/headworks/headworks/blob/main/docs/runbook/";

#[test]
fn promtool_finds_nothing_in_the_rules_and_every_case_holds() -> Result<()> {
    succeeds(promtool()?.args(["check", "config"]).arg(shipped().join("prometheus.yml")))?;
    succeeds(promtool()?.args(["check", "rules"]).args(files("deploy/prometheus/rules", "yml")?))?;
    succeeds(promtool()?.args(["test", "rules"]).args(files("deploy/prometheus/tests", "yml")?))
}

#[test]
fn every_alert_has_a_page_and_every_page_an_alert() -> Result<()> {
    let text = read(&shipped().join("rules/alerts.yml"))?;
    let alerts: BTreeSet<_> = alerts()?.into_iter().collect();
    let stem = |path: std::path::PathBuf| Some(path.file_stem()?.to_str()?.to_owned());
    let mut pages: BTreeSet<_> = files("docs/runbook", "md")?.into_iter().filter_map(stem).collect();
    ensure!(pages.remove("README"), "there is no list of the pages");
    ensure!(alerts == pages, "alerts {alerts:#?}, pages {pages:#?}");
    let list = read(&at("docs/runbook/README.md"))?;
    for alert in alerts {
        let url = format!("runbook_url: {PAGES}{alert}.md\n");
        ensure!(text.contains(&url), "{alert} does not lead to its page");
        ensure!(list.contains(&format!("[{alert}]({alert}.md)")), "{alert} is not on the list of pages");
        let page = read(&at(&format!("docs/runbook/{alert}.md")))?;
        ensure!(page.starts_with(&format!("# {alert}\n")), "the page of {alert} has another title");
        for part in ["\n## What it means\n", "\n## Look here\n", "\n## Do this\n", "\n## It is over when\n"] {
            ensure!(page.contains(part), "the page of {alert} has no {part:?}");
        }
    }
    Ok(())
}

#[test]
fn every_alert_fires_in_one_case_and_is_silent_in_another() -> Result<()> {
    let (mut fires, mut silent) = (BTreeSet::new(), BTreeSet::new());
    for file in files("deploy/prometheus/tests", "yml")? {
        for case in read(&file)?.split("alertname: ").skip(1) {
            let name = case.split([',', '\n']).next().context("a name")?.to_owned();
            if case.contains("exp_labels:") { &mut fires } else { &mut silent }.insert(name);
        }
    }
    let alerts = alerts()?;
    let without = |cases: &BTreeSet<_>| -> Vec<_> {
        alerts.iter().filter(|alert| !cases.contains(*alert)).cloned().collect()
    };
    ensure!(without(&fires).is_empty(), "no case in which it fires: {:?}", without(&fires));
    ensure!(without(&silent).is_empty(), "no case in which it does not: {:?}", without(&silent));
    Ok(())
}

/// The alerts, by name.
pub(super) fn alerts() -> Result<Vec<String>> {
    let text = read(&shipped().join("rules/alerts.yml"))?;
    let found: Vec<_> = text.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    ensure!(!found.is_empty(), "no alert was found");
    Ok(found.into_iter().map(str::to_owned).collect())
}

/// Runs a command that must find nothing.
pub(super) fn succeeds(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("run {command:?}"))?;
    let said = [output.stdout, output.stderr].concat();
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&said));
    Ok(())
}
