//! Answers to uploads: the receipt in its headers and its body, and problems made of what went wrong in storage.

use std::time::Duration;

use headworks_shared::{
    http::{Code, Problem, Reply, json},
    model::{Receipt, Status},
    report::Report,
    storage::{BodyError, Error as StorageError, PutError},
};
use http::{HeaderValue, StatusCode, header};
use tracing::error;

use crate::metrics::Outcome;

/// When a store or queue that cannot be reached may be there again.
pub(crate) const COME_BACK: Duration = Duration::from_secs(5);

/// The answer to an upload that is safe.
pub(crate) fn receipt(receipt: &Receipt) -> Reply {
    let status = match receipt.status {
        Status::Deferred => StatusCode::ACCEPTED,
        Status::Queued | Status::Stored | Status::Failed => StatusCode::CREATED,
    };
    with_receipt(json(status, receipt), receipt)
}

/// The answer to an upload that is safe, but whose condition is not decided yet.
pub(crate) fn undecided(receipt: &Receipt) -> Reply {
    with_receipt(json(StatusCode::ACCEPTED, receipt), receipt)
}

fn with_receipt(mut reply: Reply, receipt: &Receipt) -> Reply {
    let fields = [
        (header::LOCATION, format!("/v1/objects/{}", receipt.id)),
        (header::ETAG, format!("\"{}\"", receipt.id)),
        (http::HeaderName::from_static("repr-digest"), receipt.digest.to_header()),
    ];
    for (name, value) in fields {
        if let Ok(value) = HeaderValue::try_from(value) {
            reply.headers_mut().insert(name, value);
        }
    }
    reply
}

/// The last answer on its connection: the rest of the body is not read.
pub(crate) fn last(mut reply: Reply) -> Reply {
    reply.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    reply
}

/// What a failed put is to the client, and to the metrics.
pub(crate) fn put_problem(failed: &PutError) -> (Outcome, Problem) {
    match failed {
        PutError::Body(error) => (body_outcome(error), body_problem(error)),
        PutError::Full => {
            (Outcome::Failed, Problem::new(Code::DiskFull).refused("disk", Duration::from_secs(60)).close())
        }
        // Only a repeat can meet its own object; that case is answered before.
        PutError::Exists => (Outcome::Failed, Problem::new(Code::Internal).close()),
        PutError::Unavailable { .. } => {
            error!(error = %Report(failed), "upload not stored");
            (Outcome::Failed, Problem::new(Code::Unavailable).refused("store", COME_BACK).close())
        }
    }
}

/// What a store that cannot be asked is to the client.
pub(crate) fn storage_problem(failed: &StorageError) -> Problem {
    error!(error = %Report(failed), "storage not reached");
    Problem::new(Code::Unavailable).refused("store", COME_BACK).close()
}

fn body_outcome(error: &BodyError) -> Outcome {
    match error {
        BodyError::Digest { .. } | BodyError::TooLarge { .. } | BodyError::Malformed(_) => Outcome::Rejected,
        BodyError::Client { .. } | BodyError::TooSlow { .. } => Outcome::Broken,
    }
}

fn body_problem(error: &BodyError) -> Problem {
    let code = match error {
        BodyError::Client { .. } | BodyError::Malformed(_) => Code::BadBody,
        BodyError::TooLarge { .. } => Code::TooLarge,
        BodyError::TooSlow { .. } => Code::TooSlow,
        BodyError::Digest { .. } => Code::DigestMismatch,
    };
    let problem = Problem::new(code).detail(error);
    // After a mismatch the body has been read to its end, and the connection is as good as before.
    if matches!(error, BodyError::Digest { .. }) { problem } else { problem.close() }
}
