//! Conditional requests: RFC 9110 section 13, in the order of precedence of section 13.2.2.
//!
//! An object's bytes never change, so its id is a strong validator. Dates count whole seconds: two versions of a path may share
//! one, so there a date is too weak to continue a download by.

use std::time::{Duration, UNIX_EPOCH};

use headworks_shared::model::{Timestamp, UploadId};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use crate::lookup::Entry;

/// The last second that an HTTP date can say: 9999-12-31T23:59:59Z.
const LAST_SECOND: u64 = 253_402_300_799;

/// What tells one representation from another.
#[derive(Clone, Debug)]
pub(crate) struct Validators {
    id: UploadId,
    modified: Timestamp,
    /// Whether no other representation of the same resource can have the same date.
    date_is_strong: bool,
}

/// What the conditions of a request lead to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// Do what was asked.
    Proceed,
    /// 304: the client has it already.
    Unmodified,
    /// 412.
    Failed,
}

impl Validators {
    /// Of an object's bytes under its id: they are the same, queued or stored, since the upload began.
    pub(crate) fn of_content(entry: &Entry) -> Self {
        Self { id: entry.id, modified: entry.received_at, date_is_strong: true }
    }

    /// Of the newest bytes at a path. Versions are counted as they are stored, so that is the date which moves forward: an upload
    /// that began early and came late would hide behind an earlier one's.
    pub(crate) fn of_file(entry: &Entry) -> Self {
        let modified = entry.stored_at.unwrap_or(entry.received_at);
        Self { id: entry.id, modified, date_is_strong: false }
    }

    /// Of what is told of a stored object.
    pub(crate) fn of_described(entry: &Entry) -> Self {
        Self::of_file(entry)
    }

    /// Writes them into an answer.
    pub(crate) fn tell(&self, headers: &mut HeaderMap) {
        let fields =
            [(header::ETAG, format!("\"{}\"", self.id)), (header::LAST_MODIFIED, http_date(self.modified))];
        for (name, value) in fields {
            // An id and a date have no character that a field must not have.
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        }
    }
}

/// Judges a request's conditions about a representation that exists.
pub(crate) fn judge(method: &Method, headers: &HeaderMap, current: &Validators) -> Verdict {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    let precondition = match names(headers, header::IF_MATCH, current, Comparison::Strong) {
        Some(matches) => matches,
        None => date(headers, header::IF_UNMODIFIED_SINCE).is_none_or(|date| current.seconds() <= date),
    };
    if !precondition {
        return Verdict::Failed;
    }
    match names(headers, header::IF_NONE_MATCH, current, Comparison::Weak) {
        Some(true) if reads => Verdict::Unmodified,
        Some(true) => Verdict::Failed,
        Some(false) => Verdict::Proceed,
        None if reads
            && date(headers, header::IF_MODIFIED_SINCE).is_some_and(|date| current.seconds() <= date) =>
        {
            Verdict::Unmodified
        }
        None => Verdict::Proceed,
    }
}

/// The `Range` field, where it is to be followed: only for GET, once, and only as far as `If-Range` holds.
pub(crate) fn range<'a>(method: &Method, headers: &'a HeaderMap, current: &Validators) -> Option<&'a str> {
    if method != Method::GET || !if_range_holds(headers, current) {
        return None;
    }
    only(headers, header::RANGE)
}

/// Section 13.1.5: strong comparison only; a date must be the very same, and strong.
fn if_range_holds(headers: &HeaderMap, current: &Validators) -> bool {
    if !headers.contains_key(header::IF_RANGE) {
        return true;
    }
    let Some(field) = only(headers, header::IF_RANGE) else { return false };
    if field.contains('"') {
        return field.trim() == format!("\"{}\"", current.id);
    }
    current.date_is_strong && date(headers, header::IF_RANGE) == Some(current.seconds())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Strong,
    Weak,
}

/// Whether a list of entity tags names the current one; `None` without such a field. What cannot be read names nothing.
fn names(
    headers: &HeaderMap,
    field: HeaderName,
    current: &Validators,
    comparison: Comparison,
) -> Option<bool> {
    let id = current.id.to_string();
    let mut values = headers.get_all(field).iter().peekable();
    values.peek()?;
    Some(values.any(|value| value.to_str().is_ok_and(|list| list_names(list, &id, comparison))))
}

fn list_names(mut list: &str, id: &str, comparison: Comparison) -> bool {
    if list.trim() == "*" {
        return true;
    }
    loop {
        list = list.trim_start_matches([' ', '\t', ',']);
        let (weak, quoted) = match list.strip_prefix("W/") {
            Some(quoted) => (true, quoted),
            None => (false, list),
        };
        let Some((tag, rest)) = quoted.strip_prefix('"').and_then(|tag| tag.split_once('"')) else {
            return false;
        };
        if tag == id && !(weak && comparison == Comparison::Strong) {
            return true;
        }
        list = rest;
    }
}

/// A date in whole seconds since 1970; one that is missing, doubled or malformed is no condition (sections 13.1.3, 13.1.4).
fn date(headers: &HeaderMap, field: HeaderName) -> Option<u64> {
    let at = httpdate::parse_http_date(only(headers, field)?).ok()?;
    Some(at.duration_since(UNIX_EPOCH).ok()?.as_secs())
}

fn only(headers: &HeaderMap, field: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(field).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    value.to_str().ok()
}

fn http_date(at: Timestamp) -> String {
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(at.unix_seconds().min(LAST_SECOND)))
}

impl Validators {
    fn seconds(&self) -> u64 {
        self.modified.unix_seconds()
    }
}

#[cfg(test)]
mod tests {
    use super::{Verdict::*, *};

    const ID: &str = "0198f3c2-7b1e-7c33-9d51-2f6c1f0c6a13";
    const TAG: &str = "\"0198f3c2-7b1e-7c33-9d51-2f6c1f0c6a13\"";
    const WEAK: &str = "W/\"0198f3c2-7b1e-7c33-9d51-2f6c1f0c6a13\"";
    const OTHER: &str = "\"0198f3c2-7b1e-7c33-9d51-2f6c1f0c6a14\"";
    const BEFORE: &str = "Sat, 21 Nov 2026 05:11:59 GMT";
    const SAME: &str = "Sat, 21 Nov 2026 05:12:00 GMT";
    const AFTER: &str = "Sat, 21 Nov 2026 05:12:01 GMT";

    /// Modified at 05:12:00.999: the fraction must not make it look newer than its own Last-Modified.
    fn validators(date_is_strong: bool) -> Validators {
        let modified = Timestamp::from_unix_ms(1_795_237_920_999);
        Validators { id: ID.parse().unwrap(), modified, date_is_strong }
    }

    fn headers(fields: &[(HeaderName, &str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    /// The fields, the verdict on GET, the verdict on DELETE.
    type Case<'a> = (&'a [(HeaderName, &'a str)], Verdict, Verdict);

    #[test]
    fn conditions_are_judged_in_their_order_of_precedence() {
        use header::{
            IF_MATCH as IM, IF_MODIFIED_SINCE as IMS, IF_NONE_MATCH as INM, IF_UNMODIFIED_SINCE as IUS,
        };
        let table: &[Case<'_>] = &[
            (&[], Proceed, Proceed),
            (&[(IM, TAG)], Proceed, Proceed),
            (&[(IM, "*")], Proceed, Proceed),
            (&[(IM, OTHER)], Failed, Failed),
            (&[(IM, WEAK)], Failed, Failed),
            (&[(IM, "")], Failed, Failed),
            (&[(IM, ID)], Failed, Failed),
            (&[(IM, "\"a,b\", , \"0198f3c2-7b1e-7c33-9d51-2f6c1f0c6a13\"")], Proceed, Proceed),
            (&[(IM, OTHER), (IM, TAG)], Proceed, Proceed),
            (&[(IUS, BEFORE)], Failed, Failed),
            (&[(IUS, SAME)], Proceed, Proceed),
            (&[(IUS, AFTER)], Proceed, Proceed),
            (&[(IUS, "yesterday")], Proceed, Proceed),
            (&[(IM, TAG), (IUS, BEFORE)], Proceed, Proceed),
            (&[(IM, OTHER), (IUS, AFTER)], Failed, Failed),
            (&[(INM, TAG)], Unmodified, Failed),
            (&[(INM, WEAK)], Unmodified, Failed),
            (&[(INM, "*")], Unmodified, Failed),
            (&[(INM, OTHER)], Proceed, Proceed),
            (&[(INM, "nonsense")], Proceed, Proceed),
            (&[(IMS, BEFORE)], Proceed, Proceed),
            (&[(IMS, SAME)], Unmodified, Proceed),
            (&[(IMS, AFTER)], Unmodified, Proceed),
            (&[(IMS, AFTER), (IMS, AFTER)], Proceed, Proceed),
            (&[(IMS, "Saturday, 21-Nov-26 05:12:00 GMT")], Unmodified, Proceed),
            (&[(INM, OTHER), (IMS, AFTER)], Proceed, Proceed),
            (&[(INM, TAG), (IMS, BEFORE)], Unmodified, Failed),
            (&[(IM, TAG), (INM, TAG)], Unmodified, Failed),
            (&[(IM, OTHER), (INM, TAG)], Failed, Failed),
            (&[(IUS, BEFORE), (INM, TAG)], Failed, Failed),
        ];
        for (fields, on_get, on_delete) in table {
            let headers = headers(fields);
            let current = validators(true);
            assert_eq!(judge(&Method::GET, &headers, &current), *on_get, "GET {fields:?}");
            assert_eq!(judge(&Method::HEAD, &headers, &current), *on_get, "HEAD {fields:?}");
            assert_eq!(judge(&Method::DELETE, &headers, &current), *on_delete, "DELETE {fields:?}");
        }
    }

    #[test]
    fn a_range_is_followed_only_while_if_range_holds() {
        let range_with = |if_range: Option<&str>, strong: bool| {
            let mut headers = headers(&[(header::RANGE, "bytes=1-2")]);
            headers.extend(if_range.map(|value| (header::IF_RANGE, value.parse().unwrap())));
            range(&Method::GET, &headers, &validators(strong)).is_some()
        };
        assert!(range_with(None, false));
        assert!(range_with(Some(TAG), false));
        for bad in [WEAK, OTHER, "*", ID, BEFORE, AFTER, "nonsense"] {
            assert!(!range_with(Some(bad), true), "{bad}");
        }
        assert!(range_with(Some(SAME), true));
        assert!(!range_with(Some(SAME), false), "two versions of a path may share a second");
    }

    #[test]
    fn a_range_is_for_get_and_given_once() {
        let once = headers(&[(header::RANGE, "bytes=1-2")]);
        assert_eq!(range(&Method::GET, &once, &validators(true)), Some("bytes=1-2"));
        assert_eq!(range(&Method::HEAD, &once, &validators(true)), None);
        let twice = headers(&[(header::RANGE, "bytes=1-2"), (header::RANGE, "bytes=3-4")]);
        assert_eq!(range(&Method::GET, &twice, &validators(true)), None);
    }

    #[test]
    fn what_is_told_is_what_is_compared_with() {
        let mut told = HeaderMap::new();
        validators(true).tell(&mut told);
        assert_eq!(told[header::ETAG], TAG);
        assert_eq!(told[header::LAST_MODIFIED], SAME);
    }
}
