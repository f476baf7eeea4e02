//! How a subject is asked to take a body.

use hyper::{
    HeaderMap, Request, Uri,
    header::{CONTENT_TYPE, HOST, LOCATION},
    http::request::Builder,
};

use super::Plan;

/// What tus calls the version that all servers speak.
const TUS: (&str, &str) = ("tus-resumable", "1.0.0");

/// The type of all bodies in tus.
const OFFSET: &str = "application/offset+octet-stream";

/// The requests that an upload is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Api {
    /// One `PUT` to the path that the body will have.
    Put,
    /// tus: a `POST` with the first bytes of the body (creation-with-upload), and a `PATCH` for each further part of it.
    Tus {
        /// The most bytes in one request.
        part: u64,
    },
}

impl Api {
    /// How many bytes of a body the first request has.
    pub(super) fn first(self, body_bytes: u64) -> u64 {
        match self {
            Self::Put => body_bytes,
            Self::Tus { part } => part.min(body_bytes),
        }
    }
}

/// The head of an upload's first request.
pub(super) fn begin(plan: &Plan, connection: usize, turn: u64) -> Builder {
    let request = match plan.api {
        Api::Put => Request::put(format!("{}/{connection}/{turn}", plan.prefix)),
        Api::Tus { .. } => Request::post(&plan.prefix)
            .header(TUS.0, TUS.1)
            .header(CONTENT_TYPE, OFFSET)
            .header("upload-length", plan.body_bytes),
    };
    let request = request.header(HOST, "localhost");
    match turn.checked_rem(plan.projects) {
        Some(project) => request.header("x-project-id", format!("project-{project}")),
        None => request,
    }
}

/// The head of one that goes on where an upload is.
pub(super) fn go_on(place: &str, offset: u64) -> Builder {
    let request = Request::patch(place).header(HOST, "localhost").header(TUS.0, TUS.1);
    request.header(CONTENT_TYPE, OFFSET).header("upload-offset", offset)
}

/// Where an upload goes on, as the answer to its first request says; `None` when it does not.
pub(super) fn place(answer: &HeaderMap) -> Option<String> {
    let place: Uri = answer.get(LOCATION)?.to_str().ok()?.parse().ok()?;
    Some(place.path().to_owned())
}
