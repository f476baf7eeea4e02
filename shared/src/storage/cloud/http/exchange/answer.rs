//! Reads a store's answer.

use std::io;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING},
};
use httparse::Status;

/// No more of an answer is read, in bytes: stores answer with a kilobyte, gateways with a page.
pub(super) const MOST: usize = 64 << 10;

/// More fields than this are no answer.
const MOST_FIELDS: usize = 100;

/// An answer, as far as it has come.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) response: Response<Bytes>,
    /// Whether its body has come as a whole.
    pub(super) whole: bool,
    /// Whether the connection can take another request, once the body has come.
    pub(super) keeps: bool,
    /// How many bytes it takes, so far.
    pub(super) length: usize,
}

/// Reads what begins with an answer; `None` when its head is not there yet. `ended` says that nothing more will come.
///
/// # Errors
/// When it is no answer of HTTP/1.
pub(super) fn read(came: &[u8], ended: bool) -> io::Result<Option<Answer>> {
    let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
    let mut head = httparse::Response::new(&mut fields);
    let begins = match head.parse(came).map_err(broken)? {
        Status::Complete(begins) => begins,
        Status::Partial if came.len() >= MOST => return Err(broken("its head is too long")),
        Status::Partial if ended => return Err(io::ErrorKind::UnexpectedEof.into()),
        Status::Partial => return Ok(None),
    };
    let status = StatusCode::from_u16(head.code.unwrap_or_default()).map_err(broken)?;
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(broken("it speaks of another protocol"));
    }
    let mut headers = HeaderMap::with_capacity(head.headers.len());
    for field in head.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(broken)?;
        headers.append(name, HeaderValue::from_bytes(field.value).map_err(broken)?);
    }
    let closes = head.version != Some(1)
        || words(&headers, &CONNECTION).any(|word| word.eq_ignore_ascii_case("close"));
    let rest = came.get(begins..).unwrap_or_default();
    let body = Body::read(status, &headers, rest)?;
    let mut response = Response::new(body.bytes);
    (*response.status_mut(), *response.headers_mut()) = (status, headers);
    let whole = body.whole || (ended && body.until_end);
    Ok(Some(Answer { response, whole, keeps: !closes && !body.until_end, length: begins + body.length }))
}

/// What there is of a body.
#[derive(Default)]
struct Body {
    bytes: Bytes,
    whole: bool,
    /// Whether only the connection's end is its end.
    until_end: bool,
    length: usize,
}

impl Body {
    /// As RFC 9112, 6.3 has it, for an answer to anything but HEAD and CONNECT.
    fn read(status: StatusCode, headers: &HeaderMap, rest: &[u8]) -> io::Result<Self> {
        if status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
            return Ok(Self { whole: true, ..Self::default() });
        }
        if headers.contains_key(TRANSFER_ENCODING) {
            let mut codings = words(headers, &TRANSFER_ENCODING);
            let chunked = codings.next_back().is_some_and(|last| last.eq_ignore_ascii_case("chunked"));
            return if chunked { Self::chunked(rest) } else { Ok(Self::until_end(rest)) };
        }
        let Some(length) = length(headers)? else { return Ok(Self::until_end(rest)) };
        let come = rest.get(..length);
        let bytes = Bytes::copy_from_slice(come.unwrap_or(rest));
        Ok(Self { length: bytes.len(), bytes, whole: come.is_some(), until_end: false })
    }

    fn until_end(rest: &[u8]) -> Self {
        Self { bytes: Bytes::copy_from_slice(rest), until_end: true, length: rest.len(), whole: false }
    }

    /// RFC 9112, 7.1. Behind trailer fields, which no store sends, a connection is not used again.
    fn chunked(rest: &[u8]) -> io::Result<Self> {
        let (mut bytes, mut at) = (Vec::new(), 0);
        loop {
            let left = rest.get(at..).unwrap_or_default();
            let parsed =
                httparse::parse_chunk_size(left).map_err(|_| broken("a chunk of it cannot be read"))?;
            let Status::Complete((begins, size)) = parsed else { break };
            let size = usize::try_from(size).map_err(broken)?;
            let left = left.get(begins..).unwrap_or_default();
            let Some(ends) = size.checked_add(2).filter(|ends| *ends <= left.len()) else {
                bytes.extend_from_slice(left.get(..size).unwrap_or(left));
                break;
            };
            bytes.extend_from_slice(left.get(..size).unwrap_or_default());
            at += begins + ends;
            let ended = left.get(size..ends) == Some(b"\r\n");
            if size == 0 {
                return Ok(Self { bytes: bytes.into(), whole: true, until_end: !ended, length: at });
            }
            if !ended {
                return Err(broken("a chunk of it is longer than it says"));
            }
        }
        Ok(Self { bytes: bytes.into(), length: rest.len(), ..Self::default() })
    }
}

/// The words of a field that is a list.
fn words<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl DoubleEndedIterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

/// What `Content-Length` says: digits, and everywhere the same.
fn length(headers: &HeaderMap) -> io::Result<Option<usize>> {
    let mut all = headers.get_all(CONTENT_LENGTH).into_iter();
    let Some(first) = all.next() else { return Ok(None) };
    let is_number = first.as_bytes().iter().all(u8::is_ascii_digit) && all.all(|other| other == first);
    let number = first.to_str().ok().filter(|_| is_number).and_then(|text| text.parse().ok());
    number.map(Some).ok_or_else(|| broken("its length cannot be read"))
}

fn broken(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Status, body, whether it is whole, whether the connection can go on, and what is left behind it.
    fn seen(text: &str, ended: bool) -> Option<(u16, String, bool, bool, usize)> {
        let answer = read(text.as_bytes(), ended).unwrap()?;
        let body = String::from_utf8(answer.response.body().to_vec()).unwrap();
        let left = text.len() - answer.length;
        Some((answer.response.status().as_u16(), body, answer.whole, answer.keeps, left))
    }

    #[test]
    fn a_body_ends_where_its_head_says() {
        for (text, ended, wanted) in [
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP", false, (100, "", true, true, 4)),
            ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false, (200, "", true, true, 0)),
            ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabcd", false, (200, "abc", true, true, 1)),
            ("HTTP/1.1 403 \r\nContent-Length: 3\r\n\r\nab", true, (403, "ab", false, true, 0)),
            ("HTTP/1.1 204 x\r\n\r\n", false, (204, "", true, true, 0)),
            ("HTTP/1.1 500 x\r\n\r\nabc", false, (500, "abc", false, false, 0)),
            ("HTTP/1.1 500 x\r\n\r\nabc", true, (500, "abc", true, false, 0)),
            (
                "HTTP/1.1 200 x\r\nTransfer-Encoding: chunked, gzip\r\n\r\nabc",
                false,
                (200, "abc", false, false, 0),
            ),
            (
                "HTTP/1.1 200 x\r\nContent-Length: 1\r\ncontent-length: 1\r\n\r\na",
                false,
                (200, "a", true, true, 0),
            ),
            ("HTTP/1.0 200 x\r\nContent-Length: 0\r\n\r\n", false, (200, "", true, false, 0)),
            (
                "HTTP/1.1 200 x\r\nConnection: x, Close\r\nContent-Length: 0\r\n\r\n",
                false,
                (200, "", true, false, 0),
            ),
        ] {
            let (status, body, whole, keeps, left) = wanted;
            assert_eq!(seen(text, ended), Some((status, body.to_owned(), whole, keeps, left)), "{text:?}");
        }
    }

    #[test]
    fn chunks_are_put_together_and_may_come_in_any_pieces() {
        const TEXT: &str =
            "HTTP/1.1 503 x\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n1\r\nd\r\n0\r\n\r\n";
        assert_eq!(seen(&format!("{TEXT}x"), false), Some((503, "abcd".to_owned(), true, true, 1)));
        for end in 0..TEXT.len() {
            let begun = seen(TEXT.get(..end).unwrap(), false);
            assert!(begun.is_none_or(|(status, body, whole, ..)| {
                (status, whole) == (503, false) && "abcd".starts_with(&body)
            }));
        }
        let trailed = TEXT.replace("0\r\n\r\n", "0\r\nA: b\r\n\r\n");
        assert!(matches!(seen(&trailed, false), Some((503, _, true, false, _))));
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        let long = format!("HTTP/1.1 200 x\r\nA: {}", "x".repeat(MOST));
        for (text, ended) in [
            ("HELLO\r\n\r\n", false),
            ("HTTP/1.1 200 OK\r\nContent-Le", true),
            (&long, false),
            ("HTTP/1.1 101 x\r\n\r\n", false),
            ("HTTP/1.1 200 x\r\nContent-Length: -1\r\n\r\n", false),
            ("HTTP/1.1 200 x\r\nContent-Length: +1\r\n\r\na", false),
            ("HTTP/1.1 200 x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", false),
            ("HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcXX0\r\n\r\n", false),
            ("HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", false),
        ] {
            assert!(read(text.as_bytes(), ended).is_err(), "{text:?}");
        }
    }
}
