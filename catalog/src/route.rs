//! Which requests are the catalog's, and what they are about. Pure: from a method and a path, nothing else.
//!
//! Reading and uploading meet on one port, so a path that both know is refused here with what both allow.

use headworks_shared::{
    http::{Code, Problem},
    model::{ObjectPath, UploadId},
};
use http::Method;

use crate::metrics::Label;

/// What is asked of the catalog.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Route {
    /// The objects of a scope, page by page.
    List,
    /// What is known of one upload.
    Object(UploadId),
    /// All versions of one object's path.
    Versions(UploadId),
    /// Remove an object.
    Delete(UploadId),
    /// The bytes of one object.
    Content(UploadId),
    /// The bytes of the newest object at a path.
    File(ObjectPath),
}

impl Route {
    /// How metrics name it.
    pub(crate) fn label(&self) -> Label {
        match self {
            Self::List => Label::List,
            Self::Object(_) => Label::Object,
            Self::Versions(_) => Label::Versions,
            Self::Delete(_) => Label::Delete,
            Self::Content(_) => Label::Content,
            Self::File(_) => Label::File,
        }
    }
}

/// Reads a request's method and (still encoded) path; `None` when it is for somebody else.
///
/// # Errors
/// When there is no such address, not for this method, or its path breaks a rule.
pub(crate) fn route(method: &Method, path: &str) -> Option<Result<Route, Problem>> {
    if let Some(rest) = path.strip_prefix("/v1/objects") {
        return match rest.strip_prefix('/') {
            Some(rest) => Some(object(method, rest)),
            None => rest.is_empty().then(|| reading(method, Route::List)),
        };
    }
    match path.strip_prefix("/v1/files")? {
        "" if method == Method::POST => None,
        "" => Some(Err(not_allowed("POST"))),
        rest => file(method, rest.strip_prefix('/')?),
    }
}

fn object(method: &Method, rest: &str) -> Result<Route, Problem> {
    let (id, part) = match rest.split_once('/') {
        Some((id, part)) => (id, Some(part)),
        None => (rest, None),
    };
    let id: UploadId = id.parse().map_err(|rule| Problem::new(Code::NotFound).detail(rule))?;
    match part {
        None if method == Method::DELETE => Ok(Route::Delete(id)),
        None if is_read(method) => Ok(Route::Object(id)),
        None => Err(not_allowed("GET, HEAD, DELETE")),
        Some("content") => reading(method, Route::Content(id)),
        Some("versions") => reading(method, Route::Versions(id)),
        Some(_) => Err(Code::NotFound.into()),
    }
}

fn file(method: &Method, encoded: &str) -> Option<Result<Route, Problem>> {
    if method == Method::PUT {
        return None;
    }
    if !is_read(method) {
        return Some(Err(not_allowed("GET, HEAD, PUT")));
    }
    let path = ObjectPath::from_encoded(encoded);
    Some(path.map(Route::File).map_err(|rule| Problem::new(Code::BadPath).detail(rule)))
}

fn reading(method: &Method, route: Route) -> Result<Route, Problem> {
    if is_read(method) { Ok(route) } else { Err(not_allowed("GET, HEAD")) }
}

fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

fn not_allowed(methods: &'static str) -> Problem {
    Problem::new(Code::MethodNotAllowed).allow(methods)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0198f3c2-7b1e-7c33-9d51-2f6c1f0c6a13";

    #[test]
    fn every_address_of_the_catalog_is_known() {
        let id: UploadId = ID.parse().unwrap();
        for (method, path, expected) in [
            (Method::GET, "/v1/objects".to_owned(), Route::List),
            (Method::HEAD, "/v1/objects".to_owned(), Route::List),
            (Method::GET, format!("/v1/objects/{ID}"), Route::Object(id)),
            (Method::HEAD, format!("/v1/objects/{ID}"), Route::Object(id)),
            (Method::DELETE, format!("/v1/objects/{ID}"), Route::Delete(id)),
            (Method::GET, format!("/v1/objects/{ID}/content"), Route::Content(id)),
            (Method::GET, format!("/v1/objects/{ID}/versions"), Route::Versions(id)),
            (Method::GET, "/v1/files/a/b%20c.jpg".to_owned(), Route::File("a/b c.jpg".parse().unwrap())),
            (Method::HEAD, "/v1/files/a".to_owned(), Route::File("a".parse().unwrap())),
        ] {
            let found = route(&method, &path).unwrap().map_err(|problem| problem.code());
            assert_eq!(found, Ok(expected), "{method} {path}");
        }
    }

    #[test]
    fn what_is_for_others_is_handed_on() {
        for (method, path) in [
            (Method::PUT, "/v1/files/a"),
            (Method::PUT, "/v1/files/../a"),
            (Method::POST, "/v1/files"),
            (Method::POST, "/v1/uploads"),
            (Method::GET, "/v1/objectsx"),
            (Method::GET, "/v1/filesx"),
            (Method::GET, "/"),
            (Method::GET, "*"),
        ] {
            assert!(route(&method, path).is_none(), "{method} {path}");
        }
    }

    #[test]
    fn a_refusal_says_which_methods_both_sides_of_the_port_allow() {
        for (method, path, allow) in [
            (Method::POST, "/v1/objects".to_owned(), "GET, HEAD"),
            (Method::PUT, format!("/v1/objects/{ID}"), "GET, HEAD, DELETE"),
            (Method::DELETE, format!("/v1/objects/{ID}/content"), "GET, HEAD"),
            (Method::POST, format!("/v1/objects/{ID}/versions"), "GET, HEAD"),
            (Method::DELETE, "/v1/files/a".to_owned(), "GET, HEAD, PUT"),
            (Method::POST, "/v1/files/a".to_owned(), "GET, HEAD, PUT"),
            (Method::GET, "/v1/files".to_owned(), "POST"),
        ] {
            let problem = route(&method, &path).unwrap().unwrap_err();
            let reply = problem.to_reply("r");
            assert_eq!(reply.status(), 405, "{method} {path}");
            assert_eq!(reply.headers()["allow"], allow, "{method} {path}");
        }
    }

    #[test]
    fn malformed_addresses_are_refused() {
        for (path, code) in [
            ("/v1/objects/", Code::NotFound),
            ("/v1/objects/7", Code::NotFound),
            ("/v1/objects/936da01f-9abd-4d9d-80c7-02af85c822a8", Code::NotFound),
            ("/v1/objects/0198f3c2-7b1e-7c33-9d51-2f6c1f0c6a13/", Code::NotFound),
            ("/v1/objects/0198f3c2-7b1e-7c33-9d51-2f6c1f0c6a13/content/", Code::NotFound),
            ("/v1/files/", Code::BadPath),
            ("/v1/files/a/", Code::BadPath),
            ("/v1/files/%2e%2e/a", Code::BadPath),
            ("/v1/files/%ff", Code::BadPath),
        ] {
            let problem = route(&Method::GET, path).unwrap().unwrap_err();
            assert_eq!(problem.code(), code, "{path}");
        }
    }
}
