//! What one operation on an object tells the HTTP service below `object_store`, and what it is told by it: the body that takes the place
//! of a dummy, and the status that the store answered.
//!
//! It travels as a task-local, because `object_store` passes nothing else through for the parts of a large object. Credentials may be
//! fetched in the same task, so the service asks [`Target::is_of`] of every request: only those to this very object concern the call.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use http::{HeaderMap, Method, StatusCode, Uri, header::CONTENT_LENGTH};
use percent_encoding::percent_decode_str;

use super::pipe::Pipe;
use crate::model::Crc64;

tokio::task_local! {
    static CALL: Arc<Call>;
}

/// Where a store is: what the addresses of all its objects begin with.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    scheme: String,
    authority: String,
    /// The path before an object's key, without percent-encoding.
    base: String,
}

/// The address of one object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Target {
    scheme: String,
    authority: String,
    path: String,
}

impl Endpoint {
    /// Reads it off the address of the object `name`; `None` when it is not that object's.
    pub(super) fn of(address: &Uri, name: &str) -> Option<Self> {
        let target = Target::read(address)?;
        let base = target.path.strip_suffix(name)?.to_owned();
        Some(Self { scheme: target.scheme, authority: target.authority, base })
    }

    /// Whether it is spoken to without TLS.
    pub(super) fn is_plain(&self) -> bool {
        self.scheme == "http"
    }

    /// The address of the bucket that the store is in, below `prefix`.
    pub(super) fn bucket(&self, prefix: &str) -> Target {
        let path = self.base.strip_suffix(prefix).unwrap_or(&self.base).trim_end_matches('/');
        let (scheme, authority) = (self.scheme.clone(), self.authority.clone());
        Target { scheme, authority, path: path.to_owned() }
    }

    /// The address of the object `name`.
    pub(super) fn target(&self, name: &str) -> Target {
        let (scheme, authority) = (self.scheme.clone(), self.authority.clone());
        Target { scheme, authority, path: format!("{}{name}", self.base) }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.authority, self.base)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.authority, self.path)
    }
}

impl Target {
    fn read(address: &Uri) -> Option<Self> {
        let (scheme, authority) =
            (address.scheme_str()?.to_owned(), address.authority()?.as_str().to_owned());
        let path = percent_decode_str(address.path()).decode_utf8().ok()?.into_owned();
        Some(Self { scheme, authority, path })
    }

    /// Whether a request goes to this bucket, or to anything in it.
    pub(super) fn holds(&self, address: &Uri) -> bool {
        let Some(Self { scheme, authority, path }) = Self::read(address) else { return false };
        let within =
            path.strip_prefix(&self.path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        within && scheme == self.scheme && authority == self.authority
    }

    /// Whether a request goes to this object.
    fn is_of(&self, address: &Uri) -> bool {
        Self::read(address).is_some_and(|target| target == *self)
    }
}

/// One operation on one object.
#[derive(Debug)]
pub(super) struct Call {
    target: Target,
    kind: Kind,
    seen: Mutex<Seen>,
}

/// What the operation sends.
#[derive(Debug)]
enum Kind {
    /// Nothing that may not be sent twice.
    Control,
    /// A whole body, once: what became of it decides whether it is sent again.
    Whole,
    /// A client's body.
    Piped(Arc<Pipe>),
    /// The word that the parts are an object now, unless there is one.
    Complete,
}

/// What the store answered last.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Seen {
    /// `None` when there was no answer.
    pub(super) status: Option<StatusCode>,
    /// What the bytes add up to, where the store says so.
    pub(super) checksum: Option<Crc64>,
    tries: u32,
    /// Whether it may answer otherwise when it is asked again.
    may_pass: bool,
}

/// How a request is to be sent.
#[derive(Debug)]
pub(super) enum Way {
    /// As `object_store` made it.
    AsItIs,
    /// As it made it, and only this once: what follows from a failure is decided above.
    Once,
    /// With the condition that there is no such object yet.
    CreateOnly,
    /// With this body in place of its own.
    Piped(Arc<Pipe>),
}

impl Call {
    pub(super) fn control(target: Target) -> Arc<Self> {
        Self::new(target, Kind::Control)
    }

    pub(super) fn whole(target: Target) -> Arc<Self> {
        Self::new(target, Kind::Whole)
    }

    pub(super) fn piped(target: Target, pipe: &Arc<Pipe>) -> Arc<Self> {
        Self::new(target, Kind::Piped(Arc::clone(pipe)))
    }

    pub(super) fn complete(target: Target) -> Arc<Self> {
        Self::new(target, Kind::Complete)
    }

    fn new(target: Target, kind: Kind) -> Arc<Self> {
        Arc::new(Self { target, kind, seen: Mutex::default() })
    }

    /// Runs the operation.
    pub(super) async fn run<F: Future>(self: &Arc<Self>, work: F) -> F::Output {
        CALL.scope(Arc::clone(self), work).await
    }

    /// The call that this task is in, if the request is to its object.
    pub(super) fn of(address: &Uri) -> Option<Arc<Self>> {
        CALL.try_with(Arc::clone).ok().filter(|call| call.target.is_of(address))
    }

    /// What the store answered.
    pub(super) fn seen(&self) -> Seen {
        *self.lock()
    }

    /// How to send a request of this call.
    ///
    /// # Errors
    /// When it must not be sent: it carries a body for the second time, or one of another length.
    pub(super) fn way(
        &self,
        method: &Method,
        query: Option<&str>,
        headers: &HeaderMap,
    ) -> Result<Way, NotAgain> {
        let data = *method == Method::PUT;
        let tries = {
            let mut seen = self.lock();
            seen.tries += u32::from(data);
            seen.tries
        };
        match &self.kind {
            Kind::Whole | Kind::Piped(_) if data && tries > 1 => Err(NotAgain),
            Kind::Whole if data => Ok(Way::Once),
            Kind::Piped(pipe) if data => {
                let declared = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
                match declared.and_then(|text| text.parse::<u64>().ok()) {
                    Some(length) if length == pipe.length() => Ok(Way::Piped(Arc::clone(pipe))),
                    _ => Err(NotAgain),
                }
            }
            Kind::Complete if data || is_complete(method, query) => Ok(Way::CreateOnly),
            _ => Ok(Way::AsItIs),
        }
    }

    /// Remembers what the store answered; a request that was not sent is no answer.
    pub(super) fn saw(&self, status: Option<StatusCode>, checksum: Option<Crc64>, may_pass: bool) {
        let mut seen = self.lock();
        (seen.status, seen.checksum, seen.may_pass) = (status, checksum, may_pass);
    }

    /// Whether the request before this one failed, so that this one asks again.
    pub(super) fn is_again(&self) -> bool {
        self.lock().may_pass
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// S3 and GCS complete by a POST; it has the id of the parts in its query.
fn is_complete(method: &Method, query: Option<&str>) -> bool {
    *method == Method::POST && query.is_some_and(|query| query.starts_with("uploadId="))
}

/// A body that is gone is not sent again.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the body was sent before")]
pub(super) struct NotAgain;

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Uri {
        text.parse().unwrap()
    }

    fn length(bytes: u64) -> HeaderMap {
        HeaderMap::from_iter([(CONTENT_LENGTH, bytes.into())])
    }

    #[tokio::test]
    async fn only_requests_to_the_object_concern_the_call() {
        let endpoint = Endpoint::of(&address("http://127.0.0.1:9000/bucket/a%20b/k/x"), "k/x").unwrap();
        let call = Call::control(endpoint.target("k/y"));
        let concerns = |text: &str| Call::of(&address(text)).is_some();
        assert!(!concerns("http://127.0.0.1:9000/bucket/a%20b/k/y"), "outside of the call");
        call.run(async {
            for own in ["a%20b/k/y", "a%20b%2Fk%2Fy", "a%20b/k/y?partNumber=1"] {
                assert!(concerns(&format!("http://127.0.0.1:9000/bucket/{own}")), "{own}");
            }
            for other in [
                "http://127.0.0.1:9001/bucket/a%20b/k/y",
                "https://127.0.0.1:9000/bucket/a%20b/k/y",
                "http://127.0.0.1:9000/bucket/a%20b/k/x",
                "http://127.0.0.1:9000/latest/api/token",
                "http://127.0.0.1:9000/x/bucket/a%20b/k/y",
            ] {
                assert!(!concerns(other), "{other}");
            }
        })
        .await;
    }

    #[test]
    fn a_bucket_is_told_from_all_else_on_its_host() {
        for (object, own, others) in [
            (
                "http://127.0.0.1:9000/bucket/a/k/x",
                ["/bucket", "/bucket?list-type=2", "/bucket/a/k/y?uploadId=1"],
                ["/", "/bucket-2/a/k/y"],
            ),
            (
                "http://bucket.example.org/a/k/x",
                ["/", "/?uploads=", "/a/k/y?uploadId=1"],
                ["//127.0.0.1/", "//sts.example.org/a/k/y"],
            ),
        ] {
            let object = address(object);
            let authority = object.authority().unwrap();
            let bucket = Endpoint::of(&object, "k/x").unwrap().bucket("a/");
            let holds = |text: &str| match text.strip_prefix("//") {
                Some(elsewhere) => bucket.holds(&address(&format!("http://{elsewhere}"))),
                None => bucket.holds(&address(&format!("http://{authority}{text}"))),
            };
            assert!(own.iter().all(|text| holds(text)), "{bucket}");
            assert!(!others.iter().any(|text| holds(text)), "{bucket}");
        }
    }

    #[test]
    fn a_body_is_given_away_once_and_for_its_own_length_only() {
        let target = Endpoint::of(&address("http://s3/b/k"), "k").unwrap().target("k");
        let pipe = Arc::new(Pipe::new(5, &Arc::default()));
        let put = |call: &Call, bytes| call.way(&Method::PUT, None, &length(bytes));
        let call = Call::piped(target.clone(), &pipe);
        assert!(matches!(call.way(&Method::GET, None, &length(5)), Ok(Way::AsItIs)));
        assert!(matches!(put(&call, 5), Ok(Way::Piped(_))));
        assert!(put(&call, 5).is_err());
        assert!(put(&Call::piped(target.clone(), &pipe), 4).is_err());
        let whole = Call::whole(target.clone());
        assert!(matches!(put(&whole, 5), Ok(Way::Once)));
        assert!(put(&whole, 5).is_err());
        let complete = Call::complete(target);
        let post = complete.way(&Method::POST, Some("uploadId=1"), &length(5));
        assert!(matches!(post, Ok(Way::CreateOnly)));
        assert!(matches!(complete.way(&Method::GET, None, &length(0)), Ok(Way::AsItIs)));
    }
}
