//! What is named is there: pods behind labels, ports behind names, a target behind each image, and one scaler for each Deployment.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{
    docker::targets,
    kubernetes::{Manifests, OVERLAYS},
    list,
    memory::{bytes, holds},
    pod::{Pod, secret},
    text,
};

/// Where a kind says which pods it means.
const SELECTORS: [(&str, &str); 5] = [
    ("Service", "/spec/selector"),
    ("PodDisruptionBudget", "/spec/selector/matchLabels"),
    ("NetworkPolicy", "/spec/podSelector/matchLabels"),
    ("PodMonitor", "/spec/selector/matchLabels"),
    ("Deployment", "/spec/selector/matchLabels"),
];

fn selected<'a>(manifests: &'a Manifests, labels: &Value) -> Vec<Pod<'a>> {
    let has = |pod: &Pod<'_>| {
        let mut wanted = labels.as_object().into_iter().flatten();
        wanted.all(|(name, value)| pod.labels().get(name) == Some(value))
    };
    manifests.pods().filter(has).collect()
}

/// The named ports that something wants of the pods it means.
fn ports(one: &Value) -> Vec<&str> {
    let service = list(one, "/spec/ports").iter().map(|port| &port["targetPort"]);
    let rules =
        list(one, "/spec/ingress").iter().flat_map(|rule| list(rule, "/ports")).map(|port| &port["port"]);
    let scraped = list(one, "/spec/podMetricsEndpoints").iter().map(|endpoint| &endpoint["port"]);
    service.chain(rules).chain(scraped).filter_map(Value::as_str).collect()
}

#[test]
fn every_selector_means_pods_and_every_named_port_is_theirs() -> Result<()> {
    for overlay in OVERLAYS {
        let manifests = Manifests::of(overlay)?;
        for (kind, place) in SELECTORS {
            for one in manifests.of_kind(kind) {
                let name = format!("{kind} {}", one["metadata"]["name"]);
                // An empty one means every pod.
                let Some(labels) = one.pointer(place) else {
                    ensure!(one.pointer("/spec/podSelector").is_some(), "{name} has no selector");
                    continue;
                };
                let pods = selected(manifests, labels);
                ensure!(!pods.is_empty(), "{name} means no pod: {labels}");
                for port in ports(one) {
                    ensure!(
                        pods.iter().any(|pod| pod.port(port).is_ok()),
                        "{name}: nobody has a port {port}"
                    );
                }
            }
        }
        for pod in manifests.pods() {
            for spread in list(pod.spec(), "/topologySpreadConstraints") {
                let meant = selected(manifests, &spread["labelSelector"]["matchLabels"]);
                ensure!(meant.len() == 1 && meant[0].name() == pod.name(), "{}: {spread}", pod.name());
            }
        }
    }
    Ok(())
}

#[test]
fn who_uses_a_server_may_go_there_and_nobody_else() -> Result<()> {
    for overlay in OVERLAYS {
        for pod in Manifests::of(overlay)?.pods() {
            let is_part = pod.owner["kind"] == "Deployment";
            for (label, needed) in [
                ("needs-queue", pod.file("/run/secrets/queue/url").is_ok()),
                ("needs-metadata", pod.file("/run/secrets/metadata/url").is_ok()),
                ("needs-store", is_part),
                ("needs-webhooks", pod.name() == "headworks-processor"),
            ] {
                let says = pod.labels()[label] == "yes";
                ensure!(says == needed, "{} of {overlay}: {label}", pod.name());
            }
        }
    }
    Ok(())
}

#[test]
fn every_deployment_is_scaled_by_one() -> Result<()> {
    for overlay in OVERLAYS {
        let manifests = Manifests::of(overlay)?;
        let scalers = || {
            ["HorizontalPodAutoscaler", "ScaledObject"].into_iter().flat_map(|kind| manifests.of_kind(kind))
        };
        for scaler in scalers() {
            manifests.get("Deployment", text(scaler, "/spec/scaleTargetRef/name")?)?;
        }
        for deployment in manifests.of_kind("Deployment") {
            let name = &deployment["metadata"]["name"];
            ensure!(
                deployment["spec"]["replicas"].is_null(),
                "{name}: each apply would undo what its scaler did"
            );
            let count = scalers().filter(|scaler| scaler["spec"]["scaleTargetRef"]["name"] == *name).count();
            ensure!(count == 1, "{name} of {overlay} is scaled by {count}");
        }
    }
    Ok(())
}

#[test]
fn every_other_name_is_found() -> Result<()> {
    for overlay in OVERLAYS {
        let manifests = Manifests::of(overlay)?;
        for rule in manifests.of_kind("Ingress").flat_map(|one| list(one, "/spec/rules")) {
            for path in list(rule, "/http/paths") {
                let service = manifests.get("Service", text(path, "/backend/service/name")?)?;
                let port = &path["backend"]["service"]["port"]["name"];
                ensure!(list(service, "/spec/ports").iter().any(|one| one["name"] == *port), "{path}");
            }
            let hosts = manifests
                .of_kind("Ingress")
                .flat_map(|one| list(one, "/spec/tls"))
                .flat_map(|tls| list(tls, "/hosts"));
            ensure!(
                hosts.into_iter().any(|host| *host == rule["host"]),
                "{} has no certificate",
                rule["host"]
            );
        }
        for reference in
            manifests.of_kind("TriggerAuthentication").flat_map(|one| list(one, "/spec/secretTargetRef"))
        {
            secret(text(reference, "/name")?, text(reference, "/key")?)?;
        }
        for pod in manifests.pods() {
            manifests.get("ServiceAccount", text(pod.spec(), "/serviceAccountName")?)?;
        }
        for one in manifests.all() {
            let namespace = &one["metadata"]["namespace"];
            ensure!(
                one["kind"] == "Namespace" || namespace == "headworks",
                "{} is in {namespace}",
                one["metadata"]
            );
        }
    }
    Ok(())
}

#[test]
fn every_image_is_a_target_of_the_dockerfile_and_has_a_version() -> Result<()> {
    let targets = targets()?;
    for overlay in OVERLAYS {
        for pod in Manifests::of(overlay)?.pods() {
            let image = text(pod.container(), "/image")?;
            let (path, tag) = image.rsplit_once(':').with_context(|| format!("{image} has no tag"))?;
            let name = path.rsplit('/').next().unwrap_or_default();
            let target = name.strip_prefix("headworks-").unwrap_or(name);
            ensure!(targets.contains(target), "{image}: the Dockerfile has no target {target}");
            ensure!(tag == env!("CARGO_PKG_VERSION"), "{image} is not this version");
        }
    }
    Ok(())
}

#[test]
fn an_ingest_has_memory_for_all_its_streams() -> Result<()> {
    for overlay in OVERLAYS {
        let manifests = Manifests::of(overlay)?;
        let ingest = manifests.pods().find(|pod| pod.name() == "headworks-ingest").context("an ingest")?;
        let limit = bytes(text(ingest.container(), "/resources/limits/memory")?)?;
        holds(limit, &ingest.settings()?).with_context(|| overlay.to_owned())?;
    }
    Ok(())
}
