//! Whose object it is: an organisation and one of its projects.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// The longest name of an organisation or project, in bytes: it becomes a folder's name.
const MAX_NAME_BYTES: usize = 64;

/// An organisation and one of its projects; both name folders, so only letters, digits, `-`, `_` and inner `.` are allowed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "(String, String)", into = "(String, String)")]
pub struct Scope {
    org: Arc<str>,
    project: Arc<str>,
}

impl Scope {
    /// # Errors
    /// When a name is empty, longer than 64 bytes or has a character that is not allowed.
    pub fn new(org: &str, project: &str) -> Result<Self, ScopeError> {
        Ok(Self { org: name(org)?, project: name(project)? })
    }

    /// The organisation.
    pub fn org(&self) -> &str {
        &self.org
    }

    /// The project.
    pub fn project(&self) -> &str {
        &self.project
    }
}

impl Default for Scope {
    /// `default`/`default`: the scope of everybody where authentication is off.
    fn default() -> Self {
        Self { org: "default".into(), project: "default".into() }
    }
}

impl TryFrom<(String, String)> for Scope {
    type Error = ScopeError;

    fn try_from((org, project): (String, String)) -> Result<Self, ScopeError> {
        Self::new(&org, &project)
    }
}

impl From<Scope> for (String, String) {
    fn from(scope: Scope) -> Self {
        (scope.org.as_ref().to_owned(), scope.project.as_ref().to_owned())
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.org, self.project)
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn name(text: &str) -> Result<Arc<str>, ScopeError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if text.is_empty() || text.len() > MAX_NAME_BYTES || text.starts_with('.') || !text.bytes().all(allowed) {
        return Err(ScopeError);
    }
    Ok(text.into())
}

/// An organisation's or project's name breaks the rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the name of an organisation or project is 1 to 64 letters, digits, '-', '_' or '.', and does not begin with '.'"
)]
pub struct ScopeError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_their_folder_are_refused() {
        for bad in ["", ".", "..", ".hidden", "a/b", "a\\b", "a b", "é", &"x".repeat(65)] {
            assert_eq!(Scope::new(bad, "p"), Err(ScopeError), "{bad}");
            assert_eq!(Scope::new("o", bad), Err(ScopeError), "{bad}");
        }
        assert!(Scope::new("acme-1", "web_v2.0").is_ok());
    }
}
