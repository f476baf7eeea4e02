//! A running system, looked at by Prometheus with our rules: what it tells is well formed and known to the pages, every query of the
//! dashboard has data, and every alert can be judged.

use std::{io::Write as _, process::Stdio, time::Duration};

use anyhow::{Context as _, Result, ensure};
use headworks_tests::{
    Client, Config, Fleet, Headworks,
    fleet::{Kind, Store},
    servers::prometheus::{Prometheus, promtool},
    until,
};
use serde_json::Value;

use super::{
    at, files,
    names::{Names, recorded, told, unknown},
    read,
    rules::alerts,
};

/// How often Prometheus looks here.
const EVERY: &str = "1s";

/// A few looks, and on a busy machine.
const SEEN: Duration = Duration::from_secs(60);

/// The text at `/metrics`, in which `promtool` finds nothing.
async fn metrics(operators: &Client) -> Result<String> {
    let answer = operators.get("/metrics").send().await?.with_status(200)?;
    let mut check = promtool()?;
    check.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut check = check.spawn()?;
    check.stdin.take().context("its input")?.write_all(&answer.body)?;
    let found = check.wait_with_output()?;
    ensure!(found.status.success(), "promtool check metrics: {found:?}");
    Ok(String::from_utf8(answer.body.to_vec())?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_system_tells_of_every_metric_that_is_named_anywhere() -> Result<()> {
    Headworks::run(Config::new()?, async |headworks| {
        let told = told(&metrics(&headworks.admin()).await?);
        let page = read(&at("docs/metrics.md"))?;
        let not_on_the_page: Vec<_> =
            told.iter().filter(|name| !page.contains(&format!("| `{name}` |"))).collect();
        ensure!(not_on_the_page.is_empty(), "not in docs/metrics.md: {not_on_the_page:?}");
        let unknown = unknown(&told.union(&recorded()?).cloned().collect())?;
        ensure!(unknown.is_empty(), "named, and told by nobody: {unknown:#?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prometheus_judges_a_fleet_by_our_rules_and_draws_our_dashboard() -> Result<()> {
    let mut fleet = Fleet::start(Store::Disk).await?;
    let mut told = Names::new();
    for node in &fleet.nodes {
        told.extend(self::told(&metrics(&node.operators()).await?));
    }
    let unknown = unknown(&told.union(&recorded()?).cloned().collect())?;
    ensure!(unknown.is_empty(), "named, and told by no part of a fleet: {unknown:#?}");

    let prometheus = Prometheus::start(None, EVERY, &fleet.nodes).await?;
    the_dashboard_has_data(&prometheus, &fleet).await?;
    every_rule_is_evaluated(&prometheus).await?;
    every_query_of_the_runbook_is_one(&prometheus).await?;
    its_absence_is_seen(&prometheus, &mut fleet).await
}

/// Uploads and reads, once for each time that Prometheus looks, for as long as a query has nothing to show.
async fn the_dashboard_has_data(prometheus: &Prometheus, fleet: &Fleet) -> Result<()> {
    let client = |kind| fleet.nodes.iter().find(|node| node.kind() == kind).context("a node");
    let (ingest, catalog) = (client(Kind::Ingest)?.client(), client(Kind::Catalog)?.client());
    let mut queries = dashboard()?;
    ensure!(queries.len() > 30, "no more than {} queries", queries.len());
    let look = async || {
        ingest.put("a", "content").send().await?.with_status(201)?;
        catalog.get("/v1/files/a").send().await?;
        looks_again(prometheus).await?;
        let mut without = Vec::new();
        for query in queries.drain(..) {
            if !has_figures(&prometheus.query(&query).await?) {
                without.push(query);
            }
        }
        queries.clone_from(&without);
        Ok(without)
    };
    until("every query of the dashboard to have data", SEEN, look, Vec::is_empty).await.map(drop)
}

/// Prometheus has looked at the fleet after this moment.
async fn looks_again(prometheus: &Prometheus) -> Result<()> {
    let last = async || {
        let looks = prometheus.query("max(timestamp(headworks_build_info))").await?;
        let at = looks.first().and_then(|look| look["value"][1].as_str()?.parse::<f64>().ok());
        Ok(at.unwrap_or_default())
    };
    let before = last().await?;
    until("Prometheus to look again", SEEN, last, |at| *at > before).await.map(drop)
}

fn has_figures(series: &[Value]) -> bool {
    series.iter().any(|one| one["value"][1].as_str().is_some_and(|value| value != "NaN"))
}

/// The queries of the dashboard's panels, as Grafana would send them with nothing chosen.
fn dashboard() -> Result<Vec<String>> {
    let mut queries = Vec::new();
    for file in files("deploy/grafana/dashboards", "json")? {
        let page: Value = serde_json::from_str(&read(&file)?)?;
        collect(&page["panels"], &mut queries);
    }
    for query in &mut queries {
        for (variable, value) in [("$__rate_interval", "1m"), ("$namespace", ".*"), ("$instance", ".*")] {
            *query = query.replace(variable, value);
        }
        ensure!(!query.contains('$'), "a variable that nobody replaces: {query}");
    }
    Ok(queries)
}

fn collect(value: &Value, queries: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            queries.extend(members.get("expr").and_then(Value::as_str).map(str::to_owned));
            members.values().for_each(|member| collect(member, queries));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, queries)),
        _ => {}
    }
}

/// Prometheus has evaluated each of them, without an error.
async fn every_rule_is_evaluated(prometheus: &Prometheus) -> Result<()> {
    let bad = async || {
        let rules = prometheus.rules().await?;
        let good =
            |rule: &Value| rule["health"] == "ok" && rule["lastError"].as_str().is_none_or(str::is_empty);
        Ok(rules.into_iter().filter(|rule| !good(rule)).collect::<Vec<_>>())
    };
    until("every rule to be evaluated", SEEN, bad, Vec::is_empty).await?;
    let names: Names =
        prometheus.rules().await?.iter().filter_map(|rule| Some(rule["name"].as_str()?.to_owned())).collect();
    let all: Names = alerts()?.into_iter().chain(recorded()?).collect();
    ensure!(names == all, "loaded {names:#?}, written {all:#?}");
    for name in recorded()? {
        let series = async || prometheus.query(&name).await;
        until(&format!("{name} to be recorded"), SEEN, series, |series| !series.is_empty()).await?;
    }
    Ok(())
}

/// What somebody copies from a page at night works.
async fn every_query_of_the_runbook_is_one(prometheus: &Prometheus) -> Result<()> {
    for page in files("docs/runbook", "md")? {
        let text = read(&page)?;
        let blocks = text.split("```promql\n").skip(1).filter_map(|behind| behind.split("```").next());
        for query in blocks.flat_map(str::lines) {
            prometheus.query(query).await.with_context(|| page.display().to_string())?;
        }
    }
    Ok(())
}

/// A part of which nothing is left is told by the absence of what it told.
async fn its_absence_is_seen(prometheus: &Prometheus, fleet: &mut Fleet) -> Result<()> {
    let rules = prometheus.rules().await?;
    for (alert, kind) in [
        ("HeadworksNoIngest", Kind::Ingest),
        ("HeadworksNoCatalog", Kind::Catalog),
        ("HeadworksNoProcessor", Kind::Processor),
    ] {
        let rule = rules.iter().find(|rule| rule["name"] == alert).with_context(|| alert.to_owned())?;
        let expression = rule["query"].as_str().context("an expression")?;
        let seen = async || Ok(prometheus.query(expression).await?.len());
        ensure!(seen().await? == 0, "{alert} with a {kind:?} that is up");
        fleet.alive(kind).next().context("one that is up")?.kill()?;
        until(&format!("{alert} without any {kind:?}"), SEEN, seen, |series| *series == 1).await?;
    }
    Ok(())
}
