//! Errors for clients: `application/problem+json` (RFC 9457).

use std::{fmt, time::Duration};

use http::{HeaderValue, Response, header};
use serde_json::json;

use super::{Body, Code, Reply};

/// An answer that says what is wrong and what to do. What operators need to know goes into the log, not in here.
#[derive(Clone, Debug)]
pub struct Problem {
    code: Code,
    detail: Option<String>,
    reason: Option<&'static str>,
    retry_after: Option<Duration>,
    allow: Option<&'static str>,
    close: bool,
}

impl Problem {
    /// A problem with nothing to add.
    pub const fn new(code: Code) -> Self {
        Self { code, detail: None, reason: None, retry_after: None, allow: None, close: false }
    }

    /// Says more about this occurrence than the code's help, and what to do. For a 5xx that is not a refusal, never.
    pub fn detail(mut self, detail: impl fmt::Display) -> Self {
        self.detail = Some(detail.to_string());
        self
    }

    /// What a refusal is about, and when to come back.
    pub fn refused(mut self, reason: &'static str, retry_after: Duration) -> Self {
        self.reason = Some(reason);
        self.retry_after = Some(retry_after);
        self
    }

    /// When to come back.
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// The methods that work.
    pub fn allow(mut self, methods: &'static str) -> Self {
        self.allow = Some(methods);
        self
    }

    /// The connection ends with this answer: the rest of the request is not worth reading.
    pub fn close(mut self) -> Self {
        self.close = true;
        self
    }

    /// What went wrong.
    pub fn code(&self) -> Code {
        self.code
    }

    /// What a refusal is about.
    pub fn reason(&self) -> Option<&'static str> {
        self.reason
    }

    /// `Retry-After` is in whole seconds (RFC 9110 section 10.2.3), so it is rounded up.
    fn retry_after_seconds(&self) -> Option<u64> {
        self.retry_after.map(|wait| wait.as_millis().div_ceil(1000).max(1).try_into().unwrap_or(u64::MAX))
    }

    /// The problem as a JSON value, for a result among others.
    pub fn to_json(&self, request_id: &str) -> serde_json::Value {
        let mut body = json!({
            "type": format!("urn:headworks:error:{}", self.code.as_str()),
            "title": self.code.title(),
            "status": self.code.status().as_u16(),
            "code": self.code.as_str(),
            "request_id": request_id,
            "detail": self.detail.as_deref().unwrap_or(self.code.help().trim()),
        });
        if let Some(members) = body.as_object_mut() {
            let extra = [
                ("reason", self.reason.map(|reason| json!(reason))),
                ("retry_after_s", self.retry_after_seconds().map(|seconds| json!(seconds))),
            ];
            members.extend(extra.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
        }
        body
    }

    /// The answer.
    pub fn to_reply(&self, request_id: &str) -> Reply {
        let mut reply = Response::new(Body::full(self.to_json(request_id).to_string()));
        *reply.status_mut() = self.code.status();
        let headers = reply.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after_seconds() {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if let Some(methods) = self.allow {
            headers.insert(header::ALLOW, HeaderValue::from_static(methods));
        }
        if self.close {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        reply
    }
}

impl From<Code> for Problem {
    fn from(code: Code) -> Self {
        Self::new(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_why_and_when_to_come_back() {
        let problem = Problem::new(Code::Refused).refused("queue", Duration::from_millis(1200)).close();
        let reply = problem.to_reply("r-1");
        assert_eq!(reply.status(), 503);
        assert_eq!(reply.headers()["retry-after"], "2");
        assert_eq!(reply.headers()["connection"], "close");
        assert_eq!(reply.headers()["cache-control"], "no-store");
        let json = problem.to_json("r-1");
        assert_eq!(
            (json["reason"].as_str(), json["retry_after_s"].as_u64(), json["code"].as_str()),
            (Some("queue"), Some(2), Some("refused"))
        );
    }
}
