//! What the answers of a store mean.

use std::sync::Arc;

use http::StatusCode;
use object_store::Error as StoreError;

use super::{
    PATIENCE,
    call::{Call, Seen},
    http::NoAnswer,
};
use crate::storage::{Cause, Error, Key, PutError};

/// How much is told of an error, in characters: a success that holds an error is repeated whole.
const LONGEST: usize = 2000;

/// What became of a put.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// There is an object under the key already.
    Taken,
    /// Somebody else is putting the same key, or has; Azure says so of every object that is there.
    Contested,
    /// No space, or no quota.
    Full,
    /// It may have been stored or not, and may work a moment later.
    Unclear,
    /// It was not stored, and will not be.
    Refused,
}

/// What it means that a put failed.
pub(super) fn verdict(error: &StoreError, seen: Seen) -> Verdict {
    let Some(status) = seen.status else { return Verdict::Unclear };
    match status {
        StatusCode::PRECONDITION_FAILED | StatusCode::NOT_MODIFIED => Verdict::Taken,
        StatusCode::CONFLICT => Verdict::Contested,
        StatusCode::INSUFFICIENT_STORAGE => Verdict::Full,
        StatusCode::FORBIDDEN if says(error, &["QuotaExceeded"]) => Verdict::Full,
        StatusCode::BAD_REQUEST if says(error, &["RequestTimeout"]) => Verdict::Unclear,
        // A success whose body is an error, or was lost.
        status if status.is_success() || status.is_server_error() => Verdict::Unclear,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => Verdict::Unclear,
        _ => Verdict::Refused,
    }
}

/// Whether the store's own words are among these.
fn says(error: &StoreError, words: &[&str]) -> bool {
    let text = error.to_string();
    words.iter().any(|word| text.contains(word))
}

/// What it means that something else failed.
pub(super) fn failed(verb: &'static str, subject: &str, error: StoreError, call: &Call) -> Error {
    match error {
        StoreError::NotFound { .. } => Error::NotFound,
        // The store gave the object out, but its headers cannot be read.
        error if call.seen().status.is_some_and(|status| status.is_success()) => {
            Error::Damaged { subject: subject.to_owned(), source: Arc::new(Told::from(error)) }
        }
        error => unavailable(verb, subject, Told::from(error)),
    }
}

pub(super) fn unavailable(
    verb: &'static str,
    subject: &str,
    source: impl std::error::Error + Send + Sync + 'static,
) -> Error {
    Error::Unavailable { verb, subject: subject.to_owned(), source: Arc::new(source) }
}

/// What `object_store` says, each thing once: its errors repeat their sources.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Told(String);

impl From<StoreError> for Told {
    fn from(error: StoreError) -> Self {
        let mut text = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(error) = source {
            let more = error.to_string();
            if !text.contains(&more) {
                text = format!("{text}: {more}");
            }
            source = error.source();
        }
        Self(text.chars().take(LONGEST).collect())
    }
}

pub(super) fn late(verb: &'static str, key: &Key) -> Error {
    unavailable(verb, key.as_str(), NoAnswer(PATIENCE))
}

pub(super) fn put_failed(key: &Key, source: impl std::error::Error + Send + Sync + 'static) -> PutError {
    put_failed_by(key, Arc::new(source))
}

pub(super) fn put_failed_by(key: &Key, source: Cause) -> PutError {
    PutError::Unavailable { key: key.clone(), source }
}
