//! Collects what is wrong with the settings, so that all of it is told at once.

use std::{fmt, ops::RangeInclusive};

use super::Url;

/// One value that breaks a rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mistake {
    /// The key, as `ingest.limits.streams`, or the file that could not be read.
    pub key: String,
    /// What was given.
    pub value: String,
    /// What it must be.
    pub rule: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}) {}", self.key, self.value, self.rule)
    }
}

/// All that is wrong with the settings.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub struct Mistakes(pub Vec<Mistake>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in the settings", if self.0.len() == 1 { "a mistake" } else { "mistakes" })?;
        self.0.iter().try_for_each(|mistake| write!(f, "\n  {mistake}"))
    }
}

/// Gathers mistakes.
#[derive(Default, Debug)]
pub(super) struct Rules(Vec<Mistake>);

impl Rules {
    /// Notes a mistake.
    pub(super) fn broken(
        &mut self,
        key: impl Into<String>,
        value: impl fmt::Display,
        rule: impl Into<String>,
    ) {
        self.0.push(Mistake { key: key.into(), value: value.to_string(), rule: rule.into() });
    }

    /// The value must lie in the range, ends included.
    pub(super) fn within<T: PartialOrd + fmt::Display>(
        &mut self,
        key: &str,
        value: T,
        range: &RangeInclusive<T>,
    ) {
        if !range.contains(&value) {
            self.broken(key, value, format!("must be {} to {}", range.start(), range.end()));
        }
    }

    /// The lesser must be below the greater.
    pub(super) fn below<T: PartialOrd + fmt::Display>(&mut self, lesser: (&str, T), greater: (&str, T)) {
        if lesser.1 >= greater.1 {
            self.broken(lesser.0, lesser.1, format!("must be below {} ({})", greater.0, greater.1));
        }
    }

    /// The URL must begin with one of the schemes.
    pub(super) fn scheme(&mut self, key: &str, url: &Url, schemes: &[&str]) {
        let scheme = url.scheme();
        let known = schemes.contains(&scheme) && (!url.rest().is_empty() || scheme == "memory");
        if !known {
            self.broken(key, url, format!("must be a URL with {}://", schemes.join(":// or ")));
        }
    }

    /// All that was noted, or nothing.
    pub(super) fn verdict(self) -> Result<(), Mistakes> {
        if self.0.is_empty() { Ok(()) } else { Err(Mistakes(self.0)) }
    }
}
