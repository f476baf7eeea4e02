//! Where uploads go: the server, the scope, and how a file's name becomes a URL.

use std::str::FromStr;

use headworks_shared::model::{ObjectPath, Priority, Scope};
use http::{
    HeaderValue, Uri,
    uri::{Authority, PathAndQuery, Scheme},
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What stays as it is in a path: the unreserved characters of RFC 3986 section 2.3, and the `/` between segments.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// A server, as `--to` names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Server {
    scheme: Scheme,
    authority: Authority,
    /// In front of `/v1/files/`, for a Headworks behind a proxy; without a `/` at its end.
    base: String,
}

impl FromStr for Server {
    type Err = ServerError;

    fn from_str(text: &str) -> Result<Self, ServerError> {
        let parts = text.parse::<Uri>().map_err(|_| ServerError::Url)?.into_parts();
        let scheme = parts.scheme.ok_or(ServerError::Url)?;
        let authority = parts.authority.ok_or(ServerError::Url)?;
        if scheme != Scheme::HTTP && scheme != Scheme::HTTPS {
            return Err(ServerError::Scheme);
        }
        if authority.as_str().contains('@') {
            return Err(ServerError::Credentials);
        }
        let rest = parts.path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/"));
        if rest.query().is_some() {
            return Err(ServerError::Query);
        }
        Ok(Self { scheme, authority, base: rest.path().trim_end_matches('/').to_owned() })
    }
}

impl Server {
    /// Whether root certificates are needed.
    pub(super) fn is_https(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }

    /// What to connect to.
    pub(super) fn address(&self) -> Result<Uri, http::Error> {
        Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query("/")
            .build()
    }

    /// The value of `Host`.
    pub(super) fn host(&self) -> &str {
        self.authority.as_str()
    }
}

impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.authority, self.base)
    }
}

/// The server, and what all uploads of a run have in common.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) server: Server,
    pub(super) scope: Scope,
    pub(super) priority: Priority,
}

impl Target {
    /// A request's target for an object: the path alone, as a server that is spoken to directly wants it (RFC 9112 section 3.2.1).
    pub(super) fn uri(&self, path: &ObjectPath) -> Result<Uri, http::Error> {
        Ok(format!("{}/v1/files/{}", self.server.base, encoded(path)).parse::<Uri>()?)
    }

    /// The `Priority` of these uploads (RFC 9218); none where it is the default.
    pub(super) fn urgency(&self) -> Option<HeaderValue> {
        match self.priority {
            Priority::High => Some(HeaderValue::from_static("u=1")),
            Priority::Normal => None,
            Priority::Low => Some(HeaderValue::from_static("u=6")),
        }
    }
}

/// A path as it stands in a URL.
fn encoded(path: &ObjectPath) -> String {
    utf8_percent_encode(path.as_str(), ENCODED).to_string()
}

/// `--to` cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum ServerError {
    /// It cannot be read.
    #[error("not a whole URL, as in http://127.0.0.1:8080")]
    Url,
    /// Another scheme.
    #[error("the URL must begin with http:// or https://")]
    Scheme,
    /// A user's name or password in the URL.
    #[error("the URL must not hold a user or password")]
    Credentials,
    /// A query.
    #[error("the URL must not have a query")]
    Query,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_url_would_misread_is_encoded_and_the_server_reads_the_same_path() {
        for (path, url) in [
            ("photos/a.jpg", "photos/a.jpg"),
            ("a b/c+d", "a%20b/c%2Bd"),
            ("50%/#1?x", "50%25/%231%3Fx"),
            ("café/日本.txt", "caf%C3%A9/%E6%97%A5%E6%9C%AC.txt"),
            ("a:b@c&d=e;f", "a%3Ab%40c%26d%3De%3Bf"),
            ("~tilde/-_..x", "~tilde/-_..x"),
            ("\"<>\\^`{|}[]", "%22%3C%3E%5C%5E%60%7B%7C%7D%5B%5D"),
        ] {
            let path: ObjectPath = path.parse().unwrap();
            assert_eq!(encoded(&path), url);
            assert_eq!(ObjectPath::from_encoded(url), Ok(path));
        }
    }

    #[test]
    fn a_server_may_lie_below_a_path() {
        for (to, told, target) in [
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080", "/v1/files/a%20b"),
            ("https://example.org/", "https://example.org", "/v1/files/a%20b"),
            ("http://[::1]:80/head/works/", "http://[::1]:80/head/works", "/head/works/v1/files/a%20b"),
        ] {
            let server: Server = to.parse().unwrap();
            assert_eq!(server.to_string(), told);
            let target_of = Target { server, scope: Scope::default(), priority: Priority::Normal };
            assert_eq!(target_of.uri(&"a b".parse().unwrap()).unwrap(), target);
        }
    }

    #[test]
    fn what_is_no_server_is_refused_with_the_rule() {
        for (to, why) in [
            ("127.0.0.1:8080", ServerError::Url),
            ("/v1", ServerError::Url),
            ("ftp://example.org", ServerError::Scheme),
            ("http://me:secret@example.org", ServerError::Credentials),
            ("http://example.org/?a=b", ServerError::Query),
        ] {
            assert_eq!(to.parse::<Server>(), Err(why), "{to}");
        }
    }
}
