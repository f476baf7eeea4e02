//! What every request is known by: its id and its trace, taken from the client or made here.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue};

use super::{Problem, Reply};
use crate::{clock::Clock, model::TraceContext};

/// The header that names a request, in and out.
pub const REQUEST_ID: http::HeaderName = http::HeaderName::from_static("x-request-id");

/// The header of W3C Trace Context.
pub const TRACEPARENT: http::HeaderName = http::HeaderName::from_static("traceparent");

/// The longest id that is taken from a client, in bytes: it is kept with the object.
const MAX_ID_BYTES: usize = 128;

/// What a request is known by in answers, logs, jobs and webhooks.
#[derive(Clone, Debug)]
pub struct Context {
    /// `X-Request-Id`.
    pub request_id: Arc<str>,
    /// A span of our own in the client's trace, or in a new one.
    pub trace: TraceContext,
}

impl Context {
    /// Reads the request's headers. An id or a trace that breaks its rule is passed over, as their standards say.
    pub fn of(headers: &HeaderMap, clock: &Clock) -> Self {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let trace = text(TRACEPARENT).and_then(|value| value.parse::<TraceContext>().ok());
        let well_formed = |id: &&str| {
            (1..=MAX_ID_BYTES).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
        };
        Self {
            request_id: text(REQUEST_ID).filter(well_formed).map_or_else(new_id, Arc::from),
            trace: trace.map_or_else(|| clock.trace(), |parent| parent.child(fastrand::u64(..))),
        }
    }
}

impl Context {
    /// The answer as it goes out: a problem in words, and the request's id on everything.
    pub fn answer(&self, result: Result<Reply, Problem>) -> Reply {
        let mut reply = result.unwrap_or_else(|problem| problem.to_reply(&self.request_id));
        if let Ok(id) = HeaderValue::from_str(&self.request_id) {
            reply.headers_mut().insert(REQUEST_ID, id);
        }
        reply
    }
}

/// A new request's id.
pub(super) fn new_id() -> Arc<str> {
    format!("{:032x}", fastrand::u128(..)).into()
}
