//! What a server's answer means for the file: a pure decision over status, fields and a short body.

use std::{ops::RangeInclusive, time::Duration};

use headworks_shared::{
    http::{Code, retry_after},
    model::{Receipt, Status, Timestamp},
};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;

/// The reason of a refusal because of too many uploads at once.
pub(super) const STREAMS: &str = "streams";

/// The wait after a refusal that does not name one.
const USUAL_WAIT: Duration = Duration::from_secs(5);

/// The longest wait that is believed; one that is refused over and over is not asked more often than once in the shortest.
const WAITS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(24 * 3600);

/// An answer, understood.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Answer {
    /// The upload is acknowledged, this time or before.
    Taken(Box<Receipt>),
    /// Not now.
    Refused {
        /// How long the server asks to be left alone.
        wait: Duration,
        /// What is short.
        reason: Option<String>,
        /// In words.
        why: String,
    },
    /// Something broke that may be whole the next time.
    Fault(String),
    /// The idempotency key stands for something that does not come back; another one is free.
    Spent(String),
    /// Never.
    Rejected(String),
}

/// The members of a problem (RFC 9457) that matter here.
#[derive(Default, Deserialize)]
struct Problem {
    code: Option<String>,
    title: Option<String>,
    detail: Option<String>,
    reason: Option<String>,
}

/// Understands an answer that came at `now`.
pub(super) fn understand(status: StatusCode, headers: &HeaderMap, body: &[u8], now: Timestamp) -> Answer {
    if status.is_success() {
        return receipt(status, body);
    }
    let problem: Problem = serde_json::from_slice(body).unwrap_or_default();
    let why = in_words(status, &problem);
    let asked = retry_after(headers, now).map(|wait| wait.clamp(*WAITS.start(), *WAITS.end()));
    let is = |code: Code| problem.code.as_deref() == Some(code.as_str());
    match status {
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
            // What it bears fewer of is sent over as few connections.
            let connections = is(Code::TooManyConnections).then(|| STREAMS.to_owned());
            let reason = problem.reason.or(connections);
            Answer::Refused { wait: asked.unwrap_or(USUAL_WAIT), reason, why }
        }
        _ if status.is_server_error() => match asked {
            Some(wait) => Answer::Refused { wait, reason: problem.reason, why },
            None => Answer::Fault(why),
        },
        StatusCode::REQUEST_TIMEOUT => Answer::Fault(why),
        _ if is(Code::KeyReused) || is(Code::Deleted) => Answer::Spent(why),
        // They were damaged on the way.
        _ if is(Code::DigestMismatch) || is(Code::BadBody) => Answer::Fault(why),
        _ => Answer::Rejected(why),
    }
}

fn receipt(status: StatusCode, body: &[u8]) -> Answer {
    match serde_json::from_slice::<Receipt>(body) {
        Ok(receipt) if receipt.status == Status::Failed => {
            Answer::Rejected(format!("the server took it as {} and failed to store it", receipt.id))
        }
        Ok(receipt) => Answer::Taken(Box::new(receipt)),
        Err(_) => Answer::Rejected(format!("answered {status} without a receipt: is this a Headworks?")),
    }
}

fn in_words(status: StatusCode, problem: &Problem) -> String {
    match problem.detail.as_deref().or(problem.title.as_deref()) {
        Some(detail) => format!("answered {}: {detail}", status.as_u16()),
        None => format!("answered {status}"),
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, header::RETRY_AFTER};

    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_ms(784_111_777_000);

    fn answer(status: u16, retry_after: Option<&'static str>, body: &str) -> Answer {
        let mut headers = HeaderMap::new();
        if let Some(value) = retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from_static(value));
        }
        understand(StatusCode::from_u16(status).unwrap(), &headers, body.as_bytes(), NOW)
    }

    #[test]
    fn a_refusal_is_waited_out_for_as_long_as_it_says() {
        for (status, retry_after, seconds) in [
            (503, Some("7"), 7),
            (429, Some(" 60 "), 60),
            (507, Some("60"), 60),
            (503, Some("Sun, 06 Nov 1994 08:49:47 GMT"), 10),
            (503, Some("soon"), 5),
            (503, Some("0"), 1),
            (503, Some("18446744073709551615"), 24 * 3600),
            (503, None, 5),
        ] {
            let body = r#"{"code":"refused","reason":"memory","detail":"memory is short"}"#;
            let told = answer(status, retry_after, body);
            let wait = Duration::from_secs(seconds);
            let why = format!("answered {status}: memory is short");
            assert_eq!(told, Answer::Refused { wait, reason: Some("memory".to_owned()), why });
        }
    }

    #[test]
    fn what_may_pass_is_told_from_what_does_not() {
        let problem = |code: &str| format!(r#"{{"code":"{code}","detail":"so it is"}}"#);
        for (status, code) in
            [(500, "internal"), (502, ""), (408, "too_slow"), (422, "digest_mismatch"), (400, "bad_body")]
        {
            let told = answer(status, None, &problem(code));
            assert_eq!(told, Answer::Fault(format!("answered {status}: so it is")));
        }
        for (status, code) in [(422, "key_reused"), (410, "deleted")] {
            assert!(matches!(answer(status, None, &problem(code)), Answer::Spent(_)), "{code}");
        }
        for (status, code) in [(413, "too_large"), (400, "bad_path"), (404, ""), (301, ""), (422, "other")] {
            let told = answer(status, Some("1"), &problem(code));
            assert_eq!(told, Answer::Rejected(format!("answered {status}: so it is")));
        }
    }

    #[test]
    fn only_a_receipt_says_that_it_was_taken() {
        let receipt = r#"{"id":"0198f3c2-7b1e-7c33-9d51-2f6c1f0c6a10","path":"a","size":1,"content_type":"x/y",
            "digest":{"crc64nvme":"0000000000000001","sha256":null},"status":"deferred",
            "received_at":"2026-11-21T05:12:00Z"}"#;
        assert!(matches!(answer(202, None, receipt), Answer::Taken(_)));
        for body in ["", "<html>", &receipt.replace("deferred", "failed")] {
            assert!(matches!(answer(200, None, body), Answer::Rejected(_)), "{body}");
        }
    }
}
