//! Every error that a client can be told: its code, status and title. `docs/error-codes.md` is made from this list.

use http::StatusCode;

macro_rules! codes {
    ($($(#[doc = $help:literal])+ $name:ident = $code:literal, $status:ident, $title:literal;)+) => {
        /// What went wrong, as clients are told: the problem's `code`, the metric's label and the log's field alike.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Code { $($(#[doc = $help])+ $name,)+ }

        impl Code {
            /// All of them, in the order of `docs/error-codes.md`.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The code itself.
            pub const fn as_str(self) -> &'static str { match self { $(Self::$name => $code),+ } }

            /// The status that goes with it.
            pub const fn status(self) -> StatusCode { match self { $(Self::$name => StatusCode::$status),+ } }

            /// The problem's title: the same for each occurrence (RFC 9457 section 3.1.3).
            pub const fn title(self) -> &'static str { match self { $(Self::$name => $title),+ } }

            /// What to do about it, for the page of error codes.
            pub const fn help(self) -> &'static str { match self { $(Self::$name => concat!($($help),+)),+ } }
        }
    };
}

codes! {
    /// The request's head is not HTTP/1.1: send one `Host`, no control characters, and each field on one line.
    MalformedRequest = "malformed_request", BAD_REQUEST, "Malformed request";
    /// HTTP/1.1 asks for exactly one `Host` field.
    BadHost = "bad_host", BAD_REQUEST, "Exactly one Host is needed";
    /// `Transfer-Encoding` may only be `chunked`, and never stands beside `Content-Length`: requests that can be read in two ways are refused.
    BadFraming = "bad_framing", BAD_REQUEST, "Ambiguous or unknown message framing";
    /// The path breaks a rule; `detail` says which: no empty, `.` or `..` segment, no control character, UTF-8, at most 1,024 bytes.
    BadPath = "bad_path", BAD_REQUEST, "Path not allowed";
    /// A header of the request, or of a part of its form, cannot be read; `detail` names it and its rule.
    BadHeader = "bad_header", BAD_REQUEST, "Header not understood";
    /// A `Content-Digest` or `Repr-Digest` cannot be read: `sha-256=:base64:`, `sha-512=:…:` or `crc64nvme=:…:`.
    BadDigest = "bad_digest", BAD_REQUEST, "Digest header not understood";
    /// A query parameter cannot be read; `detail` names it and its rule.
    BadQuery = "bad_query", BAD_REQUEST, "Query not understood";
    /// `X-Org-Id` or `X-Project-Id` is not a name.
    BadScope = "bad_scope", BAD_REQUEST, "Organisation or project not understood";
    /// The body ended before the announced length, or its chunks or parts are broken. Send it again.
    BadBody = "bad_body", BAD_REQUEST, "Body broken off or malformed";
    /// There is no such object, or no such address.
    NotFound = "not_found", NOT_FOUND, "Not found";
    /// The address exists, but not for this method; `Allow` lists those that work.
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED, "Method not allowed";
    /// The body (or the head) came too slowly. Send it again, over a better line.
    TooSlow = "too_slow", REQUEST_TIMEOUT, "Request too slow";
    /// The object was deleted.
    Deleted = "deleted", GONE, "Object deleted";
    /// `If-None-Match: *` was sent and there is an object at the path.
    Exists = "exists", PRECONDITION_FAILED, "There is an object at this path";
    /// `If-Match` or `If-Unmodified-Since` does not hold.
    PreconditionFailed = "precondition_failed", PRECONDITION_FAILED, "Precondition failed";
    /// The object is larger than `ingest.max_object`.
    TooLarge = "too_large", PAYLOAD_TOO_LARGE, "Object too large";
    /// The request holds more files than `ingest.max_files_per_request`. Those before were taken.
    TooManyFiles = "too_many_files", PAYLOAD_TOO_LARGE, "Too many files in one request";
    /// `POST /v1/files` takes `multipart/form-data` with a boundary; no upload takes a `Content-Encoding`.
    UnsupportedMediaType = "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE, "Media type not supported";
    /// The range lies outside of the object; `Content-Range` tells its size.
    RangeNotSatisfiable = "range_not_satisfiable", RANGE_NOT_SATISFIABLE, "Range not satisfiable";
    /// Only `Expect: 100-continue` is understood.
    BadExpectation = "bad_expectation", EXPECTATION_FAILED, "Expectation not understood";
    /// The bytes do not have the digest that was announced: they were damaged on the way. Nothing was stored. Send them again.
    DigestMismatch = "digest_mismatch", UNPROCESSABLE_ENTITY, "Digest does not match";
    /// The `Idempotency-Key` was used for other content or another path, its upload failed, or it is older than 12 hours. Use a new key.
    KeyReused = "key_reused", UNPROCESSABLE_ENTITY, "Idempotency-Key used for something else";
    /// The head is over 32 KiB or has more than 64 fields.
    HeaderTooLarge = "header_too_large", REQUEST_HEADER_FIELDS_TOO_LARGE, "Header too large";
    /// The client's address has as many connections as it may have: use fewer, and keep them open.
    TooManyConnections = "too_many_connections", TOO_MANY_REQUESTS, "Too many connections";
    /// Too many uploads are in flight, or memory, disk or queue is short, or intake is paused. Nothing was read. Come back after `Retry-After`.
    Refused = "refused", SERVICE_UNAVAILABLE, "Not now";
    /// The disk ran full during the upload; nothing of it was kept.
    DiskFull = "disk_full", INSUFFICIENT_STORAGE, "Storage is full";
    /// Storage, queue or database cannot be reached. Come back after `Retry-After`.
    Unavailable = "unavailable", SERVICE_UNAVAILABLE, "A dependency cannot be reached";
    /// Something broke that should not have; the log has more under the request's id.
    Internal = "internal", INTERNAL_SERVER_ERROR, "Internal error";
    /// As the reason of a failed upload: its bytes are gone from storage.
    ObjectMissing = "object_missing", INTERNAL_SERVER_ERROR, "Object missing in storage";
    /// As the reason of a failed upload: its bytes are not those that were received.
    ObjectDamaged = "object_damaged", INTERNAL_SERVER_ERROR, "Object damaged in storage";
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_code_is_used_twice() {
        let codes: HashSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(codes.len(), Code::ALL.len());
    }
}
