//! The overlays as kustomize makes them: every field is one, and every pod is what its settings need.

use std::sync::OnceLock;

use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::Value;

use super::{list, output, pod::Pod, read, text, tool};

/// The overlays.
pub(super) const OVERLAYS: [&str; 2] = ["small", "production"];

/// What an overlay makes.
pub(super) struct Manifests(Vec<Value>);

impl Manifests {
    /// Of an overlay; made once.
    pub(super) fn of(overlay: &str) -> Result<&'static Self> {
        static MADE: [OnceLock<Result<Manifests, String>>; OVERLAYS.len()] =
            [const { OnceLock::new() }; OVERLAYS.len()];
        let at = OVERLAYS.iter().position(|one| *one == overlay).context("an overlay")?;
        let make = || Self::parse(&rendered(overlay)?);
        once(&MADE[at], make)
    }

    /// The secrets of the example; read once.
    pub(super) fn secrets() -> Result<&'static Self> {
        static READ: OnceLock<Result<Manifests, String>> = OnceLock::new();
        once(&READ, || Self::parse(&read("deploy/kubernetes/secrets.example.yaml")?))
    }

    /// Of a stream of YAML documents.
    fn parse(yaml: &str) -> Result<Self> {
        let json = output(tool("python")?.arg("tests/manifests.py"), yaml)?;
        Ok(Self(serde_json::from_str(&json)?))
    }

    pub(super) fn all(&self) -> &[Value] {
        &self.0
    }

    pub(super) fn of_kind(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.0.iter().filter(move |one| one["kind"] == kind)
    }

    pub(super) fn get(&self, kind: &str, name: &str) -> Result<&Value> {
        let found = self.of_kind(kind).find(|one| one["metadata"]["name"] == name);
        found.with_context(|| format!("there is no {kind} {name}"))
    }

    /// What runs: Deployments and Jobs.
    pub(super) fn pods(&self) -> impl Iterator<Item = Pod<'_>> {
        self.0.iter().filter(|one| one["spec"]["template"].is_object()).map(|owner| Pod { owner, of: self })
    }
}

fn once<T>(
    place: &'static OnceLock<Result<T, String>>,
    make: impl FnOnce() -> Result<T>,
) -> Result<&'static T> {
    let made = place.get_or_init(|| make().map_err(|error| format!("{error:#}")));
    made.as_ref().map_err(|error| anyhow!("{error}"))
}

fn rendered(overlay: &str) -> Result<String> {
    output(tool("kubectl")?.args(["kustomize", &format!("deploy/kubernetes/overlays/{overlay}")]), "")
}

fn mistakes(yaml: &str) -> Result<String> {
    output(tool("python")?.args(["tests/manifests.py", "--schemas"]), yaml)
}

#[test]
fn every_field_is_one_that_its_kind_has() -> Result<()> {
    let mut all = read("deploy/kubernetes/secrets.example.yaml")?;
    for overlay in OVERLAYS {
        all += &format!("\n---\n{}", rendered(overlay)?);
    }
    // So that it is known to look: a field of each family that there is not.
    let wrong = "\n---\napiVersion: v1\nkind: Service\nmetadata: {name: wrong}\nspec: {selektor: {}}\n\
                 ---\napiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata: {name: wrong}\n\
                 spec: {scaleTargetRef: {name: a}, triggers: [], minReplicas: 1}\n\
                 ---\napiVersion: monitoring.coreos.com/v1\nkind: PodMonitor\nmetadata: {name: wrong}\n\
                 spec: {selector: {}, podMetricsEndpoints: [{prt: admin}]}\n";
    let said = mistakes(&format!("{all}{wrong}"))?;
    let (planted, found): (Vec<_>, Vec<_>) = said.lines().partition(|line| line.contains(" wrong: "));
    ensure!(found.is_empty(), "{}", found.join("\n"));
    for name in ["selektor", "minReplicas", "prt"] {
        ensure!(planted.iter().any(|line| line.contains(name)), "{name} was not found: {planted:?}");
    }
    Ok(())
}

#[test]
fn every_pod_accepts_its_settings_and_listens_where_it_is_looked_for() -> Result<()> {
    for overlay in OVERLAYS {
        for pod in Manifests::of(overlay)?.pods() {
            let settings = pod.settings().with_context(|| format!("{} of {overlay}", pod.name()))?;
            let (ingest, catalog) = (&settings.ingest, &settings.catalog);
            let listens = match pod.name() {
                "headworks-ingest" => vec![("uploads", ingest.listen), ("admin", ingest.admin)],
                "headworks-catalog" => vec![("objects", catalog.listen), ("admin", catalog.admin)],
                "headworks-processor" => vec![("admin", settings.processor.admin)],
                _ => vec![],
            };
            for (port, address) in &listens {
                ensure!(address.ip().is_unspecified(), "{} {port}: nobody can reach {address}", pod.name());
                ensure!(pod.port(port)? == u64::from(address.port()), "{} {port}: {address}", pod.name());
            }
            ensure!(list(pod.container(), "/ports").len() == listens.len(), "{} has other ports", pod.name());
        }
    }
    Ok(())
}

#[test]
fn who_is_told_to_stop_has_time_for_its_delay_its_grace_and_a_farewell() -> Result<()> {
    for overlay in OVERLAYS {
        for pod in Manifests::of(overlay)?.pods().filter(|pod| pod.owner["kind"] == "Deployment") {
            let shutdown = pod.settings()?.shutdown;
            let asked = shutdown.drain_delay.0.as_secs() + shutdown.grace.0.as_secs();
            let given = pod.spec()["terminationGracePeriodSeconds"].as_u64().unwrap_or(30);
            ensure!(given >= asked + 10, "{} of {overlay}: {given} s for {asked} s", pod.name());
        }
    }
    Ok(())
}

#[test]
fn every_probe_asks_the_operators_listener_for_what_it_knows() -> Result<()> {
    for overlay in OVERLAYS {
        for pod in Manifests::of(overlay)?.pods().filter(|pod| pod.owner["kind"] == "Deployment") {
            for (probe, path) in [("readinessProbe", "/readyz"), ("livenessProbe", "/livez")] {
                let asked = &pod.container()[probe]["httpGet"];
                ensure!(asked["path"] == path && asked["port"] == "admin", "{}: {asked}", pod.name());
            }
        }
    }
    Ok(())
}

#[test]
fn every_pod_has_no_right_that_it_does_not_need() -> Result<()> {
    for overlay in OVERLAYS {
        for pod in Manifests::of(overlay)?.pods() {
            let (spec, container) = (pod.spec(), pod.container());
            ensure!(list(spec, "/containers").len() == 1, "{} has another container", pod.name());
            for (place, wanted) in [
                ("/automountServiceAccountToken", Value::Bool(false)),
                ("/securityContext/runAsNonRoot", Value::Bool(true)),
                ("/securityContext/seccompProfile/type", "RuntimeDefault".into()),
            ] {
                ensure!(spec.pointer(place) == Some(&wanted), "{}: {place}", pod.name());
            }
            for (place, wanted) in [
                ("/securityContext/allowPrivilegeEscalation", Value::Bool(false)),
                ("/securityContext/readOnlyRootFilesystem", Value::Bool(true)),
                ("/securityContext/capabilities/drop/0", "ALL".into()),
            ] {
                ensure!(container.pointer(place) == Some(&wanted), "{}: {place}", pod.name());
            }
            let memory = ["/resources/requests/memory", "/resources/limits/memory"];
            let [requested, limit] = memory.map(|place| text(container, place));
            ensure!(requested? == limit?, "{}: it is promised less memory than it may have", pod.name());
        }
    }
    Ok(())
}

#[test]
fn the_rules_are_those_of_prometheus() -> Result<()> {
    let folder = "deploy/kubernetes/components/monitoring";
    let made = output(&mut std::process::Command::new(super::root().join(folder).join("generate")), "")?;
    let kept = read(&format!("{folder}/rules.yaml"))?;
    ensure!(made == kept, "{folder}/rules.yaml is not what {folder}/generate prints: write it anew");
    let alerts = Manifests::parse(&kept)?;
    let groups = list(&alerts.all()[0], "/spec/groups");
    ensure!(groups.iter().any(|group| !list(group, "/rules").is_empty()), "there is no rule in it");
    Ok(())
}
