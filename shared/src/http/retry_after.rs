//! The field `Retry-After` of an answer that came to us.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, header::RETRY_AFTER};

use crate::model::Timestamp;

/// Reads it (RFC 9110 section 10.2.3): seconds, or a date. What cannot be read, and what is past, asks for nothing.
pub fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    date.duration_since(SystemTime::UNIX_EPOCH + Duration::from_millis(now.unix_ms())).ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn it_is_seconds_or_a_date() {
        let now = "2026-11-21T05:12:00Z".parse().unwrap();
        let asked =
            |value| retry_after(&HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(value))]), now);
        assert_eq!(asked(" 120 "), Some(Duration::from_secs(120)));
        assert_eq!(asked("Sat, 21 Nov 2026 05:13:30 GMT"), Some(Duration::from_secs(90)));
        for nothing in ["Sat, 21 Nov 2020 05:13:30 GMT", "-1", "soon", ""] {
            assert_eq!(asked(nothing), None, "{nothing}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
