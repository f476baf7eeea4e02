//! Where a backend is. A password in it is never printed.

use std::fmt;

use serde::Deserialize;

/// A URL whose password stays out of logs, errors and printed settings.
#[derive(Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(transparent)]
pub struct Url(String);

impl Url {
    /// All of it, for those who connect.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What is before `://`; empty without it.
    pub fn scheme(&self) -> &str {
        self.halves().0
    }

    /// What is behind `://`.
    pub fn rest(&self) -> &str {
        self.halves().1
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn halves(&self) -> (&str, &str) {
        self.0.split_once("://").unwrap_or(("", &self.0))
    }
}

impl From<&str> for Url {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The last `@` before the path ends what is said of the user (RFC 3986 section 3.2).
        let (scheme, rest) = self.halves();
        let authority = rest.find(['/', '?', '#']).and_then(|end| rest.get(..end)).unwrap_or(rest);
        match authority.rsplit_once('@').and_then(|(user, _)| user.split_once(':')) {
            Some((user, password)) => {
                let behind = rest.get(user.len() + 1 + password.len()..).unwrap_or_default();
                write!(f, "{scheme}://{user}:«secret»{behind}")
            }
            None => f.write_str(&self.0),
        }
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_printed() {
        for (url, printed) in [
            ("redis://:pw@h:1/0", "redis://:«secret»@h:1/0"),
            ("postgres://u:p@w@h/d?x=a:b@c", "postgres://u:«secret»@h/d?x=a:b@c"),
            ("postgres://u@h/d", "postgres://u@h/d"),
            ("file://./a:b@c", "file://./a:b@c"),
            ("", ""),
        ] {
            assert_eq!(Url::from(url).to_string(), printed);
        }
    }
}
