//! An answer as a client sees it, and what every error must look like.

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use headworks_shared::http::Code;
use http::HeaderMap;
use serde_json::Value;

/// One answer, read to its end.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Its fields.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// The 1xx that came before it.
    pub interim: Vec<u16>,
}

impl Answer {
    /// A field's value; empty when it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// When it is none.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("no JSON in {self:?}"))
    }

    /// A member of the JSON body as text.
    ///
    /// # Errors
    /// When it is not there, or no text.
    pub fn text(&self, member: &str) -> Result<String> {
        let value = self.json()?;
        let text = value.get(member).and_then(Value::as_str);
        Ok(text.with_context(|| format!("no text {member:?} in {value}"))?.to_owned())
    }

    /// The answer, if it has this status.
    ///
    /// # Errors
    /// When it has another.
    pub fn with_status(self, status: u16) -> Result<Self> {
        ensure!(self.status == status, "wanted {status}, got {self:?}");
        Ok(self)
    }

    /// The problem, if the answer is one of this code and has all that RFC 9457 and api.md ask for.
    ///
    /// # Errors
    /// When a part of it is missing or another.
    pub fn problem(&self, code: Code) -> Result<Value> {
        let wanted = (code.status().as_u16(), code.as_str());
        let told = || format!("wanted {wanted:?}, got {} {:?}", self.status, self.body);
        ensure!(self.status == wanted.0, told());
        ensure!(self.header("content-type") == "application/problem+json", told());
        let problem = self.json().with_context(told)?;
        check_problem(&problem, code).with_context(told)?;
        let id = problem["request_id"].as_str().unwrap_or_default();
        ensure!(
            !id.is_empty() && self.header("x-request-id") == id,
            "X-Request-Id is not {id:?}: {}",
            told()
        );
        if matches!(self.status, 429 | 503) {
            let wait: u64 = self.header("retry-after").parse().with_context(told)?;
            ensure!(wait > 0, told());
        }
        Ok(problem)
    }
}

/// Checks the members that every problem has.
///
/// # Errors
/// When one is missing or another.
pub fn check_problem(problem: &Value, code: Code) -> Result<()> {
    let kind = format!("urn:headworks:error:{}", code.as_str());
    ensure!(problem["type"] == kind, "type is {}", problem["type"]);
    ensure!(problem["title"] == code.title(), "title is {}", problem["title"]);
    ensure!(problem["status"] == code.status().as_u16(), "status is {}", problem["status"]);
    ensure!(problem["code"] == code.as_str(), "code is {}", problem["code"]);
    ensure!(problem["request_id"].is_string(), "request_id is {}", problem["request_id"]);
    Ok(())
}
