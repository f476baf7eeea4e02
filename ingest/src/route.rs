//! Which request is which upload. Past this, no text stands for a path.

use headworks_shared::{
    http::{Code, Problem},
    model::ObjectPath,
};
use http::Method;

/// An upload, by its address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Route {
    /// `PUT /v1/files/{path…}`: the body is the object.
    PutFile(ObjectPath),
    /// `POST /v1/files`: the parts of the form are the objects.
    PostFiles,
}

impl Route {
    /// The route of a request.
    ///
    /// # Errors
    /// 404 for an unknown address, 405 for another method, 400 for a path that breaks a rule.
    pub fn of(method: &Method, path: &str) -> Result<Self, Problem> {
        match (path.strip_prefix("/v1/files"), method) {
            (Some(""), &Method::POST) => Ok(Self::PostFiles),
            (Some(""), _) => Err(Problem::new(Code::MethodNotAllowed).allow("POST")),
            (Some(rest), _) if !rest.starts_with('/') => Err(Code::NotFound.into()),
            (Some(rest), &Method::PUT) => {
                let encoded = rest.strip_prefix('/').unwrap_or_default();
                let path = ObjectPath::from_encoded(encoded)
                    .map_err(|error| Problem::new(Code::BadPath).detail(error))?;
                Ok(Self::PutFile(path))
            }
            (Some(_), _) => Err(Problem::new(Code::MethodNotAllowed).allow("GET, HEAD, PUT")),
            (None, _) => Err(Code::NotFound.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(method: &str, path: &str) -> Option<Code> {
        Route::of(&Method::from_bytes(method.as_bytes()).unwrap(), path).err().map(|problem| problem.code())
    }

    #[test]
    fn uploads_have_two_addresses() {
        let route = Route::of(&Method::PUT, "/v1/files/a%20b/c.txt").unwrap();
        assert_eq!(route, Route::PutFile("a b/c.txt".parse().unwrap()));
        assert_eq!(Route::of(&Method::POST, "/v1/files").unwrap(), Route::PostFiles);
    }

    #[test]
    fn everything_else_is_told_what_is_wrong() {
        assert_eq!(code("PUT", "/v1/files/../x"), Some(Code::BadPath));
        assert_eq!(code("PUT", "/v1/files//x"), Some(Code::BadPath));
        assert_eq!(code("BREW", "/v1/files/x"), Some(Code::MethodNotAllowed));
        assert_eq!(code("PUT", "/v1/files"), Some(Code::MethodNotAllowed));
        assert_eq!(code("PUT", "/v1/files/"), Some(Code::BadPath));
        assert_eq!(code("POST", "/v1/files/"), Some(Code::MethodNotAllowed));
        assert_eq!(code("PUT", "/v1/filesystem"), Some(Code::NotFound));
        assert_eq!(code("GET", "/"), Some(Code::NotFound));
    }
}
