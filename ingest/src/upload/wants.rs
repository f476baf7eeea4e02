//! What a client wants of an upload, read from the request's head. Past this, no text stands for a digest, a size or a wait.

use std::time::Duration;

use headworks_shared::{
    http::{Code, Context, Problem, scope},
    model::{Envelope, ObjectPath, Priority, Scope},
};
use http::{HeaderMap, HeaderName, Version, header, request::Parts};

use crate::body::Announced;

const PRIORITY: HeaderName = HeaderName::from_static("priority");
const PREFER: HeaderName = HeaderName::from_static("prefer");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The longest media type that is kept, in bytes: it is kept with the object.
const MAX_TYPE_BYTES: usize = 255;

/// The longest `Idempotency-Key`, in bytes.
const MAX_KEY_BYTES: usize = 255;

/// The head of an upload, understood.
#[derive(Clone, Debug)]
pub(crate) struct Wants {
    pub(crate) scope: Scope,
    pub(crate) content_type: Option<String>,
    pub(crate) length: Option<u64>,
    pub(crate) announced: Announced,
    pub(crate) idempotency_key: Option<String>,
    pub(crate) only_if_absent: bool,
    pub(crate) priority: Priority,
    pub(crate) wait: Option<Duration>,
}

impl Wants {
    /// # Errors
    /// The first header that cannot be read, by name and rule.
    pub(crate) fn of(head: &Parts) -> Result<Self, Problem> {
        let headers = &head.headers;
        expectation(headers)?;
        understood(headers)?;
        Ok(Self {
            scope: scope(headers).map_err(Problem::close)?,
            content_type: content_type(headers)?,
            length: length(head.version, headers)?,
            announced: Announced::of(headers)
                .map_err(|error| Problem::new(Code::BadDigest).detail(error).close())?,
            idempotency_key: idempotency_key(headers)?,
            only_if_absent: only_if_absent(headers)?,
            priority: priority(headers)?,
            wait: wait(headers)?,
        })
    }

    /// What is kept with the object.
    pub(crate) fn envelope(&self, path: ObjectPath, context: &Context) -> Envelope {
        Envelope {
            scope: self.scope.clone(),
            path,
            content_type: self.content_type.clone(),
            priority: self.priority,
            only_if_absent: self.only_if_absent,
            marker: None,
            request_id: Some(context.request_id.as_ref().to_owned()),
            trace: Some(context.trace),
        }
    }
}

fn bad(header: &HeaderName, rule: impl std::fmt::Display) -> Problem {
    Problem::new(Code::BadHeader).detail(format!("{header}: {rule}")).close()
}

/// The value of a header that may stand once.
fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Problem> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(bad(name, "may stand only once"));
    }
    value.to_str().map(|text| Some(text.trim())).map_err(|_| bad(name, "must be visible ASCII"))
}

/// Headers that would change what an upload means, and that are not taken: passing over them would break a promise.
fn understood(headers: &HeaderMap) -> Result<(), Problem> {
    for name in [header::IF_MATCH, header::IF_MODIFIED_SINCE, header::IF_UNMODIFIED_SINCE] {
        if headers.contains_key(&name) {
            return Err(bad(&name, "is not taken for uploads; If-None-Match: * is"));
        }
    }
    if headers.contains_key(header::CONTENT_RANGE) {
        // RFC 9110 section 14.5.
        return Err(bad(&header::CONTENT_RANGE, "an object is uploaded whole"));
    }
    match text(headers, &header::CONTENT_ENCODING)? {
        Some(coding) if !coding.eq_ignore_ascii_case("identity") => {
            let detail =
                "Content-Encoding is not kept: upload what is to be stored, under its own media type";
            Err(Problem::new(Code::UnsupportedMediaType).detail(detail).close())
        }
        _ => Ok(()),
    }
}

fn expectation(headers: &HeaderMap) -> Result<(), Problem> {
    match headers.get(header::EXPECT) {
        Some(value) if !value.as_bytes().eq_ignore_ascii_case(b"100-continue") => {
            Err(Problem::new(Code::BadExpectation).close())
        }
        _ => Ok(()),
    }
}

fn content_type(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    text(headers, &header::CONTENT_TYPE)?.map(media_type).transpose()
}

/// A media type that can be kept with an object: of a request, or of a part of a form.
pub(crate) fn media_type(value: &str) -> Result<String, Problem> {
    if value.len() > MAX_TYPE_BYTES || !value.contains('/') {
        return Err(bad(
            &header::CONTENT_TYPE,
            "must be a media type of at most 255 bytes, as in image/jpeg",
        ));
    }
    Ok(value.to_owned())
}

fn length(version: Version, headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let parse =
        |value: &str| value.parse().map_err(|_| bad(&header::CONTENT_LENGTH, "must be a number of bytes"));
    match text(headers, &header::CONTENT_LENGTH)? {
        Some(value) => parse(value).map(Some),
        // In HTTP/2 a body needs neither (RFC 9113 section 8.1.1).
        None if version == Version::HTTP_2 || headers.contains_key(header::TRANSFER_ENCODING) => Ok(None),
        // There is no body (RFC 9112 section 6.3).
        None => Ok(Some(0)),
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = text(headers, &IDEMPOTENCY_KEY)? else { return Ok(None) };
    let key = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
    if key.is_empty() || key.len() > MAX_KEY_BYTES {
        return Err(bad(&IDEMPOTENCY_KEY, "must have 1 to 255 characters"));
    }
    Ok(Some(key.to_owned()))
}

fn only_if_absent(headers: &HeaderMap) -> Result<bool, Problem> {
    match text(headers, &header::IF_NONE_MATCH)? {
        None => Ok(false),
        Some("*") => Ok(true),
        Some(_) => Err(bad(&header::IF_NONE_MATCH, "an upload knows only *")),
    }
}

fn priority(headers: &HeaderMap) -> Result<Priority, Problem> {
    text(headers, &PRIORITY)?
        .map_or(Ok(Priority::default()), |value| value.parse().map_err(|error| bad(&PRIORITY, error)))
}

/// `Prefer: wait=5` (RFC 7240 section 4.3); other preferences are passed over.
fn wait(headers: &HeaderMap) -> Result<Option<Duration>, Problem> {
    for value in headers.get_all(PREFER) {
        let members = value.to_str().unwrap_or_default().split([',', ';']);
        if let Some(seconds) = members.map(str::trim).find_map(|member| member.strip_prefix("wait=")) {
            let seconds = seconds.parse().map_err(|_| bad(&PREFER, "wait is a number of seconds"))?;
            return Ok(Some(Duration::from_secs(seconds)));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn wants(fields: &[(&str, &str)]) -> Result<Wants, Problem> {
        let mut request = Request::put("/v1/files/x");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        Wants::of(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn a_plain_request_wants_nothing_special() {
        let wants = wants(&[("content-length", "3"), ("content-type", "text/plain")]).unwrap();
        assert_eq!((wants.length, wants.content_type.as_deref()), (Some(3), Some("text/plain")));
        assert_eq!((wants.priority, wants.only_if_absent, wants.wait), (Priority::Normal, false, None));
    }

    #[test]
    fn everything_that_can_be_wanted_is_understood() {
        let wants = wants(&[
            ("transfer-encoding", "chunked"),
            ("idempotency-key", "\"k-1\""),
            ("if-none-match", "*"),
            ("priority", "u=1"),
            ("prefer", "respond-async, wait=5"),
        ])
        .unwrap();
        assert_eq!((wants.length, wants.idempotency_key.as_deref()), (None, Some("k-1")));
        assert_eq!(
            (wants.priority, wants.only_if_absent, wants.wait),
            (Priority::High, true, Some(Duration::from_secs(5)))
        );
    }

    #[test]
    fn headers_that_cannot_be_read_are_told_by_name() {
        for (name, value, code) in [
            ("expect", "a-miracle", Code::BadExpectation),
            ("content-type", "jpeg", Code::BadHeader),
            ("idempotency-key", "", Code::BadHeader),
            ("if-none-match", "\"abc\"", Code::BadHeader),
            ("if-match", "*", Code::BadHeader),
            ("content-range", "bytes 0-1/10", Code::BadHeader),
            ("content-encoding", "gzip", Code::UnsupportedMediaType),
            ("priority", "u=9", Code::BadHeader),
            ("prefer", "wait=soon", Code::BadHeader),
            ("content-digest", "sha-256=nonsense", Code::BadDigest),
            ("x-org-id", "../etc", Code::BadScope),
        ] {
            assert_eq!(wants(&[(name, value)]).unwrap_err().code(), code, "{name}");
        }
    }
}
