//! One pod, seen from within: its files, its environment, and what Headworks makes of them.

use anyhow::{Context as _, Result, bail};
use headworks_shared::config::{self, Settings};
use serde_json::Value;

use super::{kubernetes::Manifests, list, text};

/// Where an image looks for its settings (`CMD` in deploy/docker/Dockerfile).
pub(super) const SETTINGS: &str = "/etc/headworks/headworks.toml";

/// What a Deployment or a Job starts.
pub(super) struct Pod<'a> {
    pub(super) owner: &'a Value,
    pub(super) of: &'a Manifests,
}

impl<'a> Pod<'a> {
    pub(super) fn name(&self) -> &'a str {
        self.owner["metadata"]["name"].as_str().unwrap_or_default()
    }

    pub(super) fn labels(&self) -> &'a Value {
        &self.owner["spec"]["template"]["metadata"]["labels"]
    }

    pub(super) fn spec(&self) -> &'a Value {
        &self.owner["spec"]["template"]["spec"]
    }

    pub(super) fn container(&self) -> &'a Value {
        &self.spec()["containers"][0]
    }

    /// The number of a named port.
    pub(super) fn port(&self, name: &str) -> Result<u64> {
        let port = list(self.container(), "/ports").iter().find(|port| port["name"] == name);
        let number = port.and_then(|port| port["containerPort"].as_u64());
        number.with_context(|| format!("{} has no port {name}", self.name()))
    }

    /// The content of a file that is mounted.
    pub(super) fn file(&self, path: &str) -> Result<String> {
        for mount in list(self.container(), "/volumeMounts") {
            let below = path.strip_prefix(text(mount, "/mountPath")?).and_then(|rest| rest.strip_prefix('/'));
            let Some(below) = below else { continue };
            let volume = list(self.spec(), "/volumes").iter().find(|volume| volume["name"] == mount["name"]);
            return self.in_volume(volume.with_context(|| format!("{mount} mounts nothing"))?, below);
        }
        bail!("{}: nothing is mounted at {path}", self.name())
    }

    fn in_volume(&self, volume: &Value, name: &str) -> Result<String> {
        let is_secret = volume["secret"].is_object();
        let source = &volume[if is_secret { "secret" } else { "configMap" }];
        let item = list(source, "/items").iter().find(|item| item["path"] == name);
        let key = text(item.with_context(|| format!("{volume} has no {name}"))?, "/key")?;
        if is_secret {
            secret(text(source, "/secretName")?, key)
        } else {
            self.config(text(source, "/name")?, key)
        }
    }

    fn config(&self, name: &str, key: &str) -> Result<String> {
        Ok(text(self.of.get("ConfigMap", name)?, &format!("/data/{key}"))?.to_owned())
    }

    /// Its environment, but for what is read from a secret as a whole.
    pub(super) fn environment(&self) -> Result<Vec<(String, String)>> {
        let mut found = Vec::new();
        for source in list(self.container(), "/envFrom") {
            let Some(name) = source.pointer("/configMapRef/name").and_then(Value::as_str) else {
                secrets(text(source, "/secretRef/name")?)?;
                continue;
            };
            let map = self.of.get("ConfigMap", name)?["data"].as_object().context("data")?;
            found.extend(
                map.iter().map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned())),
            );
        }
        for variable in list(self.container(), "/env") {
            found.push((text(variable, "/name")?.to_owned(), text(variable, "/value")?.to_owned()));
        }
        Ok(found)
    }

    /// The settings as the program reads them there: its file, over it its environment, with the secrets of the example.
    pub(super) fn settings(&self) -> Result<Settings> {
        let folder = tempfile::tempdir()?;
        let place = folder.path().join("headworks.toml");
        std::fs::write(&place, self.file(SETTINGS)?)?;
        let mut environment = self.environment()?;
        for (number, (name, value)) in environment.iter_mut().enumerate() {
            if name.starts_with("HEADWORKS__") && name.ends_with("_FILE") {
                let copy = folder.path().join(number.to_string());
                std::fs::write(&copy, self.file(value)?)?;
                *value = copy.to_string_lossy().into_owned();
            }
        }
        Ok(config::load(Some(&place), environment)?.settings)
    }
}

/// A secret of the example.
fn secrets(name: &str) -> Result<Value> {
    Ok(Manifests::secrets()?.get("Secret", name)?["stringData"].clone())
}

/// One value of it.
pub(super) fn secret(name: &str, key: &str) -> Result<String> {
    let data = secrets(name)?;
    Ok(data[key].as_str().with_context(|| format!("the secret {name} has no {key}"))?.to_owned())
}
