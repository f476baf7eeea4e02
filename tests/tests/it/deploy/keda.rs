//! What processors are scaled by: figures and streams that are there, and none of those that mislead.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use headworks_shared::{
    model::Priority,
    queue::{
        JobQueue, Settings,
        conformance::job,
        redis::{Options, RedisQueue},
    },
    resilience::{Guard, Rule},
};
use headworks_tests::servers::redis::Redis;
use serde_json::Value;

use super::{kubernetes::Manifests, list, pod::Pod, text};

fn triggers() -> Result<Vec<Value>> {
    let manifests = Manifests::of("production")?;
    let scaled = manifests.get("ScaledObject", "headworks-processor")?;
    Ok(list(scaled, "/spec/triggers").to_vec())
}

fn processor(manifests: &Manifests) -> Result<Pod<'_>> {
    manifests.pods().find(|pod| pod.name() == "headworks-processor").context("a processor")
}

#[test]
fn processors_are_scaled_by_the_time_to_drain_first() -> Result<()> {
    let triggers = triggers()?;
    let [first, others @ ..] = &triggers[..] else { anyhow::bail!("there is no trigger") };
    ensure!(first["type"] == "prometheus" && first["metricType"] == "Value", "{first}");
    let query = text(first, "/metadata/query")?;
    let record = "headworks:queue_time_to_drain_seconds";
    ensure!(query.starts_with(&format!("max({record}{{")), "one truth told by many is no sum: {query}");
    // Else it would be 0 when Prometheus knows nothing, and all processors would go.
    ensure!(first["metadata"]["ignoreNullValues"] == "false", "{first}");
    let rules = super::read("deploy/kubernetes/components/monitoring/rules.yaml")?;
    ensure!(rules.contains(&format!("- record: {record}\n")), "nobody records {record}");
    let manifests = Manifests::of("production")?;
    let environment = processor(manifests)?.environment()?;
    for other in others {
        ensure!(other["type"] == "redis-streams" && other["metricType"] == "Value", "{other}");
        let address = text(other, "/metadata/addressFromEnv")?;
        ensure!(environment.iter().any(|(name, _)| name == address), "a processor has no {address}");
        let settings: BTreeSet<_> = other["metadata"].as_object().context("metadata")?.keys().collect();
        for lag in ["consumerGroup", "lagCount", "pendingEntriesCount"] {
            ensure!(
                !settings.contains(&lag.to_owned()),
                "{lag} is not what it seems once entries are deleted: {other}"
            );
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lengths_that_are_looked_at_are_those_of_the_queue() -> Result<()> {
    let redis = Redis::start_with(&[]).await?;
    let manifests = Manifests::of("production")?;
    let options = Options {
        guard: Guard::silent("queue", Rule::QUEUE),
        name: processor(manifests)?.settings()?.queue.name,
        pool: 4,
        command_timeout: Duration::from_secs(2),
        consumer: "one".to_owned(),
    };
    let settings =
        Settings { capacity: 100, lease: Duration::from_secs(60), credit_ttl: Duration::from_secs(60) };
    let queue: Arc<dyn JobQueue> = Arc::new(RedisQueue::open(&redis.url(), options, settings).await?);
    for (number, priority) in (0..).zip(Priority::ALL) {
        queue.push(job(number, priority), None).await?;
    }
    let mut connection = redis.connect().await?;
    let mut length = 0;
    for trigger in triggers()?.iter().filter(|one| one["type"] == "redis-streams") {
        let stream = text(trigger, "/metadata/stream")?;
        let found: u64 = redis::cmd("XLEN").arg(stream).query_async(&mut connection).await?;
        ensure!(found == 1, "{stream} has {found} entries, and not its one");
        length += found;
    }
    ensure!(length == 3, "{length} of three jobs were seen");
    let claimed = queue.claim(3, Duration::from_secs(5)).await?;
    queue.done(&claimed.into_iter().map(|one| one.ticket).collect::<Vec<_>>()).await?;
    for trigger in triggers()?.iter().filter(|one| one["type"] == "redis-streams") {
        let stream = text(trigger, "/metadata/stream")?;
        let left: u64 = redis::cmd("XLEN").arg(stream).query_async(&mut connection).await?;
        ensure!(left == 0, "{stream} is as long as before, though its job is done");
    }
    Ok(())
}
