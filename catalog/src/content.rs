//! The bytes of an object, streamed from the store: whole, a range of them, or only word that the client has them already.
//!
//! What an uploader wrote is served as a stranger's: no sniffing, no scripts, and saved rather than shown unless its media type
//! cannot run.

use std::{fmt, ops::Range};

use headworks_shared::{
    http::{Body, Code, Problem, Reply},
    model::{ObjectPath, UploadId},
    storage::{Error, Key},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use tracing::error;

use crate::{
    Catalog, Request,
    condition::{self, Validators, Verdict},
    disposition::disposition,
    empty,
    lookup::Entry,
    range::{self, Selection},
};

const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");

/// Which bytes are wanted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Subject {
    /// Those of one upload, also while its job waits.
    Id(UploadId),
    /// Those of the newest stored object at a path.
    Path(ObjectPath),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Path(path) => path.fmt(f),
        }
    }
}

/// What a request for bytes leads to.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Plan {
    Unmodified,
    Failed,
    Unsatisfiable,
    Send(Option<Range<u64>>),
}

impl Catalog {
    /// Serves the bytes of `subject`. Bytes that are gone were deleted a moment ago (then the next look says so), or are lost.
    pub(crate) async fn content(&self, request: &Request<'_>, subject: &Subject) -> Result<Reply, Problem> {
        let mut missed = None;
        loop {
            let (entry, validators) = self.resolve(request, subject).await?;
            if missed == Some(entry.id) {
                error!(request.id = request.id, upload.id = %entry.id, "the bytes of an object are missing in storage");
                return Err(Code::ObjectMissing.into());
            }
            if let Some(reply) = self.serve(request, &entry, &validators).await? {
                return Ok(reply);
            }
            // Every further turn needs another object, stored and deleted meanwhile.
            missed = Some(entry.id);
        }
    }

    async fn resolve(
        &self,
        request: &Request<'_>,
        subject: &Subject,
    ) -> Result<(Entry, Validators), Problem> {
        match subject {
            Subject::Id(id) => {
                let entry = self.look_up(request, *id).await?.into_entry()?;
                let validators = Validators::of_content(&entry);
                Ok((entry, validators))
            }
            Subject::Path(path) => {
                let found = self.meta.at_path(&request.scope, path).await;
                let found = found.map_err(|error| request.unavailable(&error))?;
                let entry = Entry::from(found.ok_or(Code::NotFound)?);
                let validators = Validators::of_file(&entry);
                Ok((entry, validators))
            }
        }
    }

    /// The answer; `None` when the bytes are not there.
    async fn serve(
        &self,
        request: &Request<'_>,
        entry: &Entry,
        validators: &Validators,
    ) -> Result<Option<Reply>, Problem> {
        let mut reply = match plan(request.method, request.headers, validators, entry.size) {
            Plan::Failed => return Err(Code::PreconditionFailed.into()),
            Plan::Unsatisfiable => return Ok(Some(unsatisfiable(request, entry.size))),
            Plan::Unmodified => empty(StatusCode::NOT_MODIFIED),
            Plan::Send(range) => {
                let Some(body) = self.body(request, entry, range.clone()).await? else { return Ok(None) };
                sent(entry, range, body)
            }
        };
        validators.tell(reply.headers_mut());
        Ok(Some(reply))
    }

    /// Opens the bytes to send, none for a HEAD; `None` when they are not there.
    async fn body(
        &self,
        request: &Request<'_>,
        entry: &Entry,
        range: Option<Range<u64>>,
    ) -> Result<Option<Body>, Problem> {
        if request.method == Method::HEAD {
            return Ok(Some(Body::empty()));
        }
        let length = length(range.as_ref(), entry.size);
        match self.blobs.read(&Key::object(&request.scope, entry.id), range).await {
            Ok(content) if content.size == entry.size => {
                Ok(Some(Body::stream(self.metrics.counted(entry.id, content.chunks), length)))
            }
            Ok(content) => {
                error!(request.id = request.id, upload.id = %entry.id, expected = entry.size, found = content.size,
                    "an object in storage has another size than its metadata says");
                Err(Code::ObjectDamaged.into())
            }
            Err(Error::NotFound) => Ok(None),
            Err(error) => Err(request.unavailable(&error)),
        }
    }
}

/// What to answer, by RFC 9110 section 13.2.2: conditions first, then the range.
fn plan(method: &Method, headers: &HeaderMap, validators: &Validators, size: u64) -> Plan {
    match condition::judge(method, headers, validators) {
        Verdict::Failed => Plan::Failed,
        Verdict::Unmodified => Plan::Unmodified,
        Verdict::Proceed => match condition::range(method, headers, validators) {
            None => Plan::Send(None),
            Some(field) => match range::select(field, size) {
                Selection::Whole => Plan::Send(None),
                Selection::Part(range) => Plan::Send(Some(range)),
                Selection::Unsatisfiable => Plan::Unsatisfiable,
            },
        },
    }
}

fn length(range: Option<&Range<u64>>, size: u64) -> u64 {
    range.map_or(size, |range| range.end - range.start)
}

/// 200, or 206 for a range.
fn sent(entry: &Entry, range: Option<Range<u64>>, body: Body) -> Reply {
    let mut reply = empty(if range.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK });
    *reply.body_mut() = body;
    let headers = reply.headers_mut();
    let text = |text: String| HeaderValue::try_from(text).ok();
    // The declared media type is the client's text; one that no field may have is told as unknown bytes.
    let media_type = HeaderValue::from_str(&entry.content_type)
        .unwrap_or(HeaderValue::from_static("application/octet-stream"));
    let fields = [
        (header::CONTENT_TYPE, Some(media_type)),
        (header::CONTENT_LENGTH, Some(length(range.as_ref(), entry.size).into())),
        (header::ACCEPT_RANGES, Some(HeaderValue::from_static("bytes"))),
        (header::CONTENT_DISPOSITION, Some(disposition(&entry.content_type, entry.path.file_name()))),
        (header::CONTENT_SECURITY_POLICY, Some(HeaderValue::from_static("sandbox"))),
        (header::X_CONTENT_TYPE_OPTIONS, Some(HeaderValue::from_static("nosniff"))),
        (REPR_DIGEST, entry.digest.and_then(|digest| text(digest.to_header()))),
        (header::CONTENT_RANGE, range.and_then(|range| text(content_range(&range, entry.size)))),
    ];
    headers.extend(fields.into_iter().filter_map(|(name, value)| Some((name, value?))));
    reply
}

/// Never of an empty range, so there is a last byte.
fn content_range(range: &Range<u64>, size: u64) -> String {
    format!("bytes {}-{}/{size}", range.start, range.end.saturating_sub(1))
}

fn unsatisfiable(request: &Request<'_>, size: u64) -> Reply {
    let mut reply = Problem::new(Code::RangeNotSatisfiable)
        .detail(format_args!("the object has {size} bytes"))
        .to_reply(request.id);
    if let Ok(value) = HeaderValue::try_from(format!("bytes */{size}")) {
        reply.headers_mut().insert(header::CONTENT_RANGE, value);
    }
    reply
}
