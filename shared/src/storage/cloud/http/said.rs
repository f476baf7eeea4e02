//! What a store says when it refuses: a code, a message, and the request's id.
//!
//! Nothing else of its answer is kept, because errors get into the log: to a request whose signature it does not like, S3 says all that it
//! was sent, the session's token too.

use std::{fmt, future::poll_fn, pin::pin, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use http_body::Body;
use tokio::time::timeout;

use super::super::xml::element;

/// How much of an answer is looked at, in bytes.
const LOOK: usize = 16 << 10;

/// How much is kept of each word, in characters.
const LONGEST: usize = 200;

/// Where S3, Azure and GCS write the request's id.
const IDS: [&str; 3] = ["x-amz-request-id", "x-ms-request-id", "x-guploader-uploadid"];

/// A store's refusal.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the store answered {status}{words}")]
pub(super) struct Said {
    status: StatusCode,
    words: Words,
}

/// What there was of them.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
struct Words {
    code: Option<String>,
    message: Option<String>,
    request: Option<String>,
}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for word in [&self.code, &self.message].into_iter().flatten() {
            write!(f, ": {word}")?;
        }
        self.request.as_ref().map_or(Ok(()), |id| write!(f, " (request {id})"))
    }
}

impl Said {
    /// Reads a refusal's body, for no longer than `limit`.
    pub(super) async fn read<B>(response: Response<B>, limit: Duration) -> (http::response::Parts, Self)
    where
        B: Body<Data = Bytes>,
    {
        let (head, body) = response.into_parts();
        let text = timeout(limit, beginning(body)).await.unwrap_or_default();
        let words = Words::of(&head.headers, &String::from_utf8_lossy(&text));
        let said = Self { status: head.status, words };
        (head, said)
    }

    /// In place of the body that was read.
    pub(super) fn to_body(&self) -> String {
        self.words.to_string().trim_start_matches(": ").to_owned()
    }
}

impl Words {
    fn of(headers: &HeaderMap, text: &str) -> Self {
        let header = IDS.iter().find_map(|name| headers.get(*name)?.to_str().ok());
        Self {
            code: element(text, "Code").and_then(short),
            message: element(text, "Message").and_then(short),
            request: header.or_else(|| element(text, "RequestId")).and_then(short),
        }
    }
}

/// The first line of a word; Azure's messages have the time and the id in the next ones.
fn short(word: &str) -> Option<String> {
    let line = word.trim().lines().next()?;
    Some(line.chars().filter(|letter| !letter.is_control()).take(LONGEST).collect())
}

/// What can be read of a body's beginning.
async fn beginning<B: Body<Data = Bytes>>(body: B) -> Vec<u8> {
    let (mut body, mut text) = (pin!(body), Vec::new());
    while let Some(Ok(frame)) = poll_fn(|context| body.as_mut().poll_frame(context)).await {
        text.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
        if text.len() >= LOOK {
            text.truncate(LOOK);
            break;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    /// As S3 answers: <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>.
    const MISMATCH: &str = "<?xml version=\"1.0\"?><Error><Code>SignatureDoesNotMatch</Code>\
        <Message>The request signature we calculated does not match.</Message><AWSAccessKeyId>AKIA</AWSAccessKeyId>\
        <StringToSign>AWS4-HMAC-SHA256</StringToSign><CanonicalRequest>x-amz-security-token:a-token</CanonicalRequest>\
        <RequestId>4442587FB7D0A2F9</RequestId><HostId>vyfo</HostId></Error>";

    #[test]
    fn of_a_refusal_its_code_message_and_request_are_kept_and_nothing_else() {
        let words = Words::of(&HeaderMap::new(), MISMATCH);
        let said = Said { status: StatusCode::FORBIDDEN, words };
        assert_eq!(
            said.to_string(),
            "the store answered 403 Forbidden: SignatureDoesNotMatch: The request signature we calculated does not match. \
             (request 4442587FB7D0A2F9)"
        );
        assert!(said.to_body().starts_with("SignatureDoesNotMatch: The request"), "{}", said.to_body());
    }

    #[test]
    fn words_are_one_short_line_each() {
        let mut headers = HeaderMap::new();
        headers.insert(IDS[1], HeaderValue::from_static("an-id"));
        let long = "x".repeat(3 * LONGEST);
        let azure =
            format!("<Error><Code>{long}</Code><Message>Busy.\nRequestId:7\nTime:8</Message></Error>");
        let words = Words::of(&headers, &azure);
        let kept = "x".repeat(LONGEST);
        assert_eq!(words.to_string(), format!(": {kept}: Busy. (request an-id)"));
        let page = Words::of(&HeaderMap::new(), "<html>a token: secret</html>");
        assert_eq!(page, Words::default(), "what is not understood is not kept");
    }
}
