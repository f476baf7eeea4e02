//! Puts the layers of settings on top of each other.
//!
//! Each value is tried on its own upon the defaults, which are right. So one wrong value does not hide another.

use std::path::Path;

use toml::{Table, Value};

use super::{DEFAULTS, Mistakes, Settings, Url, rules::Rules};

/// What names a setting in the environment: `HEADWORKS__INGEST__LISTEN` is `ingest.listen`.
const PREFIX: &str = "HEADWORKS__";

/// The settings, and the table they were read from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Read, and checked.
    pub settings: Settings,
    table: Table,
}

impl Loaded {
    /// The settings in force as TOML, secrets left out.
    pub fn print(&self) -> String {
        let mut table = self.table.clone();
        if let Some(Value::Array(webhooks)) = lookup_mut(&mut table, "notify.webhooks") {
            for webhook in webhooks.iter_mut().filter_map(Value::as_table_mut) {
                webhook.insert("secret".to_owned(), Value::String("«secret»".to_owned()));
            }
        }
        for key in ["storage.url", "queue.url", "metadata.url", "metadata.replica_url"] {
            if let Some(Value::String(url)) = lookup_mut(&mut table, key) {
                *url = Url::from(url.as_str()).to_string();
            }
        }
        table.to_string()
    }
}

/// Reads the settings: the defaults, over them the file, over it the environment.
///
/// # Errors
/// Every unknown key, wrong kind of value, value out of its range and pair of values that contradict each other, all at once.
pub fn load(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Loaded, Mistakes> {
    let mut rules = Rules::default();
    let mut table = defaults();
    let mut layers = Vec::new();
    if let Some(file) = file {
        layers.extend(from_file(file, &mut rules));
    }
    layers.extend(from_environment(environment, &table, &mut rules));
    for (key, value) in layers {
        lay(&mut table, &key, value, &mut rules);
    }
    match Settings::try_from_table(&table) {
        Ok(settings) => {
            settings.check(&mut rules);
            rules.verdict()?;
            Ok(Loaded { settings, table })
        }
        Err(rule) => {
            rules.broken("settings", "as a whole", rule);
            Err(rules.verdict().err().unwrap_or(Mistakes(Vec::new())))
        }
    }
}

/// The compiled-in defaults; a test reads them, so they are whole.
fn defaults() -> Table {
    DEFAULTS.parse().unwrap_or_default()
}

fn from_file(file: &Path, rules: &mut Rules) -> Vec<(String, Value)> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) => {
            rules.broken(file.display().to_string(), "the settings file", format!("cannot be read: {error}"));
            return Vec::new();
        }
    };
    match text.parse::<Table>() {
        Ok(table) => {
            let mut found = Vec::new();
            leaves("", table, &mut found);
            found
        }
        Err(error) => {
            let place = error
                .span()
                .map_or(1, |span| text.bytes().take(span.start).filter(|byte| *byte == b'\n').count() + 1);
            rules.broken(
                file.display().to_string(),
                format!("line {place}"),
                format!("must be TOML: {}", error.message()),
            );
            Vec::new()
        }
    }
}

/// Every value with its whole key; a list is one value.
fn leaves(prefix: &str, table: Table, found: &mut Vec<(String, Value)>) {
    for (name, value) in table {
        let key = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
        match value {
            Value::Table(inner) => leaves(&key, inner, found),
            value => found.push((key, value)),
        }
    }
}

fn from_environment(
    environment: impl IntoIterator<Item = (String, String)>,
    defaults: &Table,
    rules: &mut Rules,
) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for (name, text) in environment {
        let Some(rest) = name.strip_prefix(PREFIX) else { continue };
        let key = rest.to_lowercase().replace("__", ".");
        match key.strip_suffix("_file").filter(|key| lookup(defaults, key).is_some()) {
            None => found.push((key.clone(), typed(text, lookup(defaults, &key)))),
            Some(key) => match std::fs::read_to_string(&text) {
                Ok(content) => {
                    found.push((key.to_owned(), typed(content.trim_end().to_owned(), lookup(defaults, key))))
                }
                Err(error) => rules.broken(name, text, format!("must name a file that can be read: {error}")),
            },
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

/// Text from the environment as the kind of value that the default is; left as text where it is none, for the rule to be told.
fn typed(text: String, default: Option<&Value>) -> Value {
    match default {
        None | Some(Value::String(_)) => Value::String(text),
        Some(_) => format!("v = {text}")
            .parse::<Table>()
            .ok()
            .and_then(|mut table| table.remove("v"))
            .unwrap_or(Value::String(text)),
    }
}

fn lay(table: &mut Table, key: &str, value: Value, rules: &mut Rules) {
    let Some(place) = lookup_mut(table, key) else {
        let near = nearest(key).map_or_else(String::new, |near| format!("; do you mean {near}?"));
        rules.broken(key, &value, format!("is not a setting{near}"));
        return;
    };
    let before = std::mem::replace(place, value.clone());
    if let Err(rule) = Settings::try_from_table(table) {
        let shown = if key == "notify.webhooks" { "…".to_owned() } else { value.to_string() };
        rules.broken(key, shown, rule);
        if let Some(place) = lookup_mut(table, key) {
            *place = before;
        }
    }
}

fn lookup<'a>(table: &'a Table, key: &str) -> Option<&'a Value> {
    let (path, name) = key.rsplit_once('.').unwrap_or(("", key));
    let folder = path
        .split('.')
        .filter(|part| !part.is_empty())
        .try_fold(table, |table, part| table.get(part)?.as_table())?;
    folder.get(name).filter(|value| !value.is_table())
}

fn lookup_mut<'a>(table: &'a mut Table, key: &str) -> Option<&'a mut Value> {
    let (path, name) = key.rsplit_once('.').unwrap_or(("", key));
    let folder = path
        .split('.')
        .filter(|part| !part.is_empty())
        .try_fold(table, |table, part| table.get_mut(part)?.as_table_mut())?;
    folder.get_mut(name).filter(|value| !value.is_table())
}

/// A known key with the same last part, or one that differs from it in two letters at most.
fn nearest(key: &str) -> Option<String> {
    let mut known = Vec::new();
    leaves("", defaults(), &mut known);
    let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
    let by_name = known.iter().find(|(candidate, _)| last(candidate) == last(key));
    let (near, _) = by_name.or_else(|| known.iter().find(|(candidate, _)| distance(candidate, key) <= 2))?;
    Some(near.clone())
}

/// The Levenshtein distance: how many letters to add, drop or change.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, y) in b.chars().enumerate() {
            let change = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}

impl Settings {
    fn try_from_table(table: &Table) -> Result<Self, String> {
        table
            .clone()
            .try_into()
            .map_err(|error: toml::de::Error| format!("is not understood: {}", error.message()))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    #[test]
    fn the_defaults_are_whole_and_keep_the_rules() {
        let loaded = load(None, []).unwrap();
        assert_eq!(loaded.settings.queue.capacity, 10_000);
        assert!(loaded.print().contains("[ingest.limits]"));
    }

    #[test]
    fn the_environment_wins_over_the_file_and_the_file_over_the_defaults() {
        let file = file("[queue]\ncapacity = 7\n[ingest.limits]\nstreams = 9\n");
        let environment =
            [("HEADWORKS__QUEUE__CAPACITY".to_owned(), "8".to_owned()), ("HOME".to_owned(), "/".to_owned())];
        let settings = load(Some(file.path()), environment).unwrap().settings;
        assert_eq!((settings.queue.capacity, settings.ingest.limits.streams), (8, 9));
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let file = file(
            "[queue]\ncapacity = 0\nsize = 3\n[ingest.limits]\nhold = 5\nstreems = 1\n[memory]\nopen_below = 85\n[storage]\ndurability = \"maybe\"\n",
        );
        let Mistakes(mistakes) =
            load(Some(file.path()), [("HEADWORKS__DISK__SHUT_BELOW".to_owned(), "many".to_owned())])
                .unwrap_err();
        let told: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        for (key, part) in [
            ("queue.capacity (0)", "must be 1 to 10000000"),
            ("queue.size (3)", "is not a setting"),
            ("ingest.limits.hold (5)", "a time has a unit"),
            ("ingest.limits.streems (1)", "do you mean ingest.limits.streams?"),
            ("memory.open_below (85 %)", "must be below memory.shut_above (80 %)"),
            ("storage.durability (\"maybe\")", "fsync"),
            ("disk.shut_below (\"many\")", "whole number from 1 to 100"),
        ] {
            assert!(
                told.iter().any(|line| line.starts_with(key) && line.contains(part)),
                "{key}: {part} in {told:#?}"
            );
        }
        assert_eq!(told.len(), 7, "{told:#?}");
    }

    #[test]
    fn secrets_come_from_files_and_are_never_printed() {
        let secret = file(
            "[{ url = \"https://example.org/hook\", secret = \"whsec_c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0\" }]\n",
        );
        let environment =
            [("HEADWORKS__NOTIFY__WEBHOOKS_FILE".to_owned(), secret.path().display().to_string())];
        let loaded = load(None, environment).unwrap();
        assert_eq!(loaded.settings.notify.webhooks[0].url, "https://example.org/hook");
        assert!(!loaded.print().contains("whsec_"), "{}", loaded.print());
        assert!(!format!("{:?}", loaded.settings).contains("whsec_"));
    }

    #[test]
    fn a_file_that_is_not_toml_is_told_with_its_line() {
        let broken = file("[queue]\ncapacity = = 3\n");
        let Mistakes(mistakes) = load(Some(broken.path()), []).unwrap_err();
        assert_eq!(mistakes[0].value, "line 2");
    }
}
