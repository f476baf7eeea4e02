//! Whose object it is: an organisation and one of its projects.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

use super::text::in_json_as_text;

/// The longest name of an organisation or project, in bytes: it becomes a folder's name.
const MAX_NAME_BYTES: usize = 64;

/// An organisation and one of its projects; both name folders, so only letters, digits, `-`, `_` and inner `.` are allowed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Scope(Name, Name);

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Name(Arc<str>);

in_json_as_text!(Name);

impl Scope {
    /// # Errors
    /// When a name is empty, longer than 64 bytes or has a character that is not allowed.
    pub fn new(org: &str, project: &str) -> Result<Self, ScopeError> {
        Ok(Self(org.parse()?, project.parse()?))
    }

    /// The organisation.
    pub fn org(&self) -> &str {
        &self.0.0
    }

    /// The project.
    pub fn project(&self) -> &str {
        &self.1.0
    }
}

impl Default for Scope {
    /// `default`/`default`: the scope of everybody where authentication is off.
    fn default() -> Self {
        Self(Name("default".into()), Name("default".into()))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.org(), self.project())
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Name {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let ruled = text.len() <= MAX_NAME_BYTES && !text.starts_with('.') && text.bytes().all(allowed);
        if text.is_empty() || !ruled { Err(ScopeError) } else { Ok(Self(text.into())) }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
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
