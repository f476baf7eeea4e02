//! Whose request it is, where authentication is off: `X-Org-Id` and `X-Project-Id`.

use http::{HeaderMap, HeaderName};

use super::{Code, Problem};
use crate::model::{Scope, ScopeError};

const ORG: HeaderName = HeaderName::from_static("x-org-id");
const PROJECT: HeaderName = HeaderName::from_static("x-project-id");

/// Reads the scope of a request; a field that is missing means `default`.
///
/// # Errors
/// [`Code::BadScope`] when a field is there twice or is not a name.
pub fn scope(headers: &HeaderMap) -> Result<Scope, Problem> {
    let read = || Scope::new(name(headers, ORG)?, name(headers, PROJECT)?);
    read().map_err(|rule| Problem::new(Code::BadScope).detail(rule))
}

fn name(headers: &HeaderMap, field: HeaderName) -> Result<&str, ScopeError> {
    let mut values = headers.get_all(field).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok("default"),
        (Some(value), None) => value.to_str().map_err(|_| ScopeError),
        // Two proxies that disagree: nobody knows which one was checked.
        (Some(_), Some(_)) => Err(ScopeError),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let field = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), http::HeaderValue::from_static(value))
        };
        fields.iter().map(field).collect()
    }

    #[test]
    fn without_fields_it_is_the_default() {
        assert_eq!(scope(&headers(&[])).unwrap(), Scope::default());
        let named = scope(&headers(&[("x-org-id", "acme")])).unwrap();
        assert_eq!(named, Scope::new("acme", "default").unwrap());
    }

    #[test]
    fn what_is_no_name_or_given_twice_is_refused() {
        for fields in [
            &[("x-org-id", "")][..],
            &[("x-org-id", "a/b")],
            &[("x-project-id", "..")],
            &[("x-org-id", "a"), ("x-org-id", "a")],
        ] {
            let problem = scope(&headers(fields)).unwrap_err();
            assert_eq!(problem.code(), Code::BadScope, "{fields:?}");
        }
    }
}
