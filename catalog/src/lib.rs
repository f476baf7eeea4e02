//! The read side of Headworks: what objects there are, what is known of each, their bytes, and their deletion.
//!
//! It answers from the request's head alone; a body is never read. In the embedded system it shares its port with ingest, so a
//! request for somebody else is handed back untouched ([`Catalog::handle`] answers `None`).
//!
//! It promises: an upload that was acknowledged is told from that moment on, by its id; what is told as deleted never comes back;
//! bytes are served with a strong validator that never means anything else; and no browser runs what an uploader wrote.

mod condition;
mod content;
mod delete;
mod disposition;
mod list;
mod lookup;
mod metrics;
mod query;
mod range;
mod route;
#[cfg(test)]
mod tests;

use std::{error::Error, sync::Arc, time::Duration};

use headworks_shared::{
    clock::Clock,
    http::{Body, Code, Context, Problem, Reply, RequestBody, Routes, json, scope},
    meta,
    model::{Scope, UploadId},
    report::Report,
    shutdown::Tasks,
    stack::Stores,
    storage::Blobs,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts};
use http_body::Body as _;
use tracing::error;

use self::{
    condition::{Validators, Verdict},
    content::Subject,
    lookup::Known,
    metrics::Metrics,
    route::Route,
};

/// When to come back after a store could not be reached: by then a restart or a failover may be through.
const STORE_RETRY_AFTER: Duration = Duration::from_secs(2);

/// What a cache must know: the answer depends on whose it is, and a deleted object must not be served on.
const VARY: HeaderValue = HeaderValue::from_static("X-Org-Id, X-Project-Id");
const CACHE_CONTROL: HeaderValue = HeaderValue::from_static("private, no-cache");

/// The names of the catalog's routes, for the metrics.
pub const ROUTES: &[&str] = &["list", "object", "versions", "delete", "content", "file", "other"];

/// Answers the requests that read and delete.
#[derive(Debug)]
pub struct Catalog {
    blobs: Arc<dyn Blobs>,
    meta: Arc<dyn meta::Store>,
    clock: Clock,
    tasks: Tasks,
    metrics: Metrics,
}

/// What a handler needs to know of a request.
#[derive(Debug)]
struct Request<'a> {
    method: &'a Method,
    headers: &'a HeaderMap,
    query: Option<&'a str>,
    scope: Scope,
    id: &'a str,
}

impl Catalog {
    /// A catalog over the stores; registers its metrics, so there is one for each registry.
    pub fn new(stores: &Stores) -> Self {
        Self {
            blobs: Arc::clone(&stores.blobs),
            meta: Arc::clone(&stores.meta),
            clock: stores.clock.clone(),
            tasks: stores.tasks.clone(),
            metrics: Metrics::new(&stores.registry),
        }
    }

    /// Answers a request by its head, with the route's name (one of [`ROUTES`]) for the metrics; `None` when it is not the
    /// catalog's. The answer to a HEAD has no body, but its length.
    pub async fn handle(
        &self,
        head: &Parts,
        request_id: &str,
    ) -> Option<(&'static str, Result<Reply, Problem>)> {
        let route = route::route(&head.method, head.uri.path())?;
        let label = route.as_ref().map_or(metrics::Label::Other, Route::label);
        let answer = match route {
            Ok(route) => self.answer_route(route, head, request_id).await,
            Err(problem) => Err(problem),
        };
        let answer =
            answer.map(|reply| if head.method == Method::HEAD { without_body(reply) } else { reply });
        Some((label.as_str(), answer))
    }

    async fn answer_route(&self, route: Route, head: &Parts, request_id: &str) -> Result<Reply, Problem> {
        let request = Request {
            method: &head.method,
            headers: &head.headers,
            query: head.uri.query(),
            scope: scope(&head.headers)?,
            id: request_id,
        };
        match route {
            Route::List => self.list(&request).await,
            Route::Object(id) => self.object(&request, id).await,
            Route::Versions(id) => self.versions(&request, id).await,
            Route::Delete(id) => self.delete(&request, id).await,
            Route::Content(id) => self.content(&request, &Subject::Id(id)).await,
            Route::File(path) => self.content(&request, &Subject::Path(path)).await,
        }
    }

    /// What is known of one upload. Once it is stored it never changes, so its id is a validator of this answer too.
    async fn object(&self, request: &Request<'_>, id: UploadId) -> Result<Reply, Problem> {
        let entry = match self.look_up(request, id).await? {
            Known::Stored(entry) => entry,
            Known::Queued(entry, _) => return Ok(answer(&entry)),
            Known::Failed(failure) => return Ok(answer(&failure)),
            Known::Deleted => return Err(Code::Deleted.into()),
            Known::Unknown => return Err(Code::NotFound.into()),
        };
        let validators = Validators::of_described(&entry);
        let mut reply = match condition::judge(request.method, request.headers, &validators) {
            Verdict::Proceed => answer(&entry),
            Verdict::Unmodified => empty(StatusCode::NOT_MODIFIED),
            Verdict::Failed => return Err(Code::PreconditionFailed.into()),
        };
        validators.tell(reply.headers_mut());
        Ok(reply)
    }
}

impl Routes for Catalog {
    async fn answer(
        &self,
        request: http::Request<RequestBody>,
        context: &Context,
    ) -> (&'static str, Result<Reply, Problem>) {
        let (head, _) = request.into_parts();
        match self.handle(&head, &context.request_id).await {
            Some(answered) => answered,
            None => (metrics::Label::Other.as_str(), Err(Code::NotFound.into())),
        }
    }
}

impl Request<'_> {
    /// A store failed: the operator is told why, the client when to come back.
    fn unavailable(&self, error: &(dyn Error + 'static)) -> Problem {
        error!(request.id = self.id, error = %Report(error), "a store failed");
        Problem::new(Code::Unavailable).retry_after(STORE_RETRY_AFTER)
    }
}

/// An answer in JSON, with what caches must know.
fn answer(value: &impl serde::Serialize) -> Reply {
    let mut reply = json(StatusCode::OK, value);
    tell_caches(reply.headers_mut());
    reply
}

/// An answer without a body, with what caches must know.
fn empty(status: StatusCode) -> Reply {
    let mut reply = Reply::new(Body::empty());
    *reply.status_mut() = status;
    tell_caches(reply.headers_mut());
    reply
}

fn tell_caches(headers: &mut HeaderMap) {
    headers.insert(header::VARY, VARY);
    headers.insert(header::CACHE_CONTROL, CACHE_CONTROL);
}

/// Keeps the head of an answer as it is, and says how long its body would have been.
fn without_body(reply: Reply) -> Reply {
    let (mut head, body) = reply.into_parts();
    if head.status != StatusCode::NOT_MODIFIED && !head.headers.contains_key(header::CONTENT_LENGTH) {
        let length = body.size_hint().exact().unwrap_or_default();
        head.headers.insert(header::CONTENT_LENGTH, length.into());
    }
    Reply::from_parts(head, Body::empty())
}
