//! Looks at every request's head before hyper does, and refuses what could be read in two ways.
//!
//! hyper takes `Content-Length` beside `Transfer-Encoding` (and drops it), any number of `Host` fields and very large heads. A
//! proxy in front may read such a request differently: that is how requests are smuggled (RFC 9112 section 11.2).

use super::Code;

/// The longest head, in bytes.
const MAX_HEAD: usize = 32 << 10;

/// The most fields in a head.
const MAX_FIELDS: usize = 64;

/// Follows one connection's bytes as they are read: head, body, head, body.
#[derive(Debug)]
pub(super) struct Screen {
    expecting: Expecting,
    /// The beginning of a head whose end has not come.
    partial: Vec<u8>,
}

/// What the next bytes belong to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Expecting {
    Head,
    /// A body of which this many bytes are to come.
    Body(u64),
    /// A chunked body, until [`Screen::body_ended`].
    Chunks,
}

impl Screen {
    pub(super) fn new() -> Self {
        Self { expecting: Expecting::Head, partial: Vec::new() }
    }

    /// Whether a request's head has begun, and not come to its end.
    pub(super) fn within_head(&self) -> bool {
        !self.partial.is_empty()
    }

    /// The chunked body was read to its end, so a head comes next.
    pub(super) fn body_ended(&mut self) {
        if self.expecting == Expecting::Chunks {
            self.expecting = Expecting::Head;
        }
    }

    /// Takes in what was read.
    pub(super) fn take(&mut self, mut bytes: &[u8]) -> Result<(), Code> {
        while !bytes.is_empty() {
            match self.expecting {
                Expecting::Chunks => return Ok(()),
                Expecting::Body(left) => {
                    let passed = left.min(bytes.len() as u64);
                    bytes = bytes.get(usize::try_from(passed).unwrap_or(usize::MAX)..).unwrap_or_default();
                    self.expecting =
                        if passed == left { Expecting::Head } else { Expecting::Body(left - passed) };
                }
                Expecting::Head => bytes = self.take_head(bytes)?,
            }
        }
        Ok(())
    }

    /// Takes in bytes of a head; the rest behind its end is handed back.
    fn take_head<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Code> {
        let before = self.partial.len();
        let whole = if before == 0 {
            bytes
        } else {
            self.partial.extend_from_slice(bytes);
            &self.partial
        };
        match check(whole)? {
            Some((length, expecting)) => {
                self.expecting = expecting;
                self.partial.clear();
                Ok(bytes.get(length.saturating_sub(before)..).unwrap_or_default())
            }
            None => {
                if before == 0 {
                    self.partial.extend_from_slice(bytes);
                }
                Ok(&[])
            }
        }
    }
}

/// The head's length and what follows it, once it is there as a whole.
fn check(bytes: &[u8]) -> Result<Option<(usize, Expecting)>, Code> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    let length = match request.parse(bytes) {
        Ok(httparse::Status::Complete(length)) if length <= MAX_HEAD => length,
        Ok(httparse::Status::Partial) if bytes.len() <= MAX_HEAD => return Ok(None),
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(Code::HeaderTooLarge),
        Err(_) => return Err(Code::MalformedRequest),
    };
    let first_minor = request.version == Some(1);
    Ok(Some((length, framing(first_minor, request.headers)?)))
}

fn framing(http11: bool, fields: &[httparse::Header<'_>]) -> Result<Expecting, Code> {
    let (mut hosts, mut length, mut chunked) = (0, None, false);
    for field in fields {
        if field.name.eq_ignore_ascii_case("host") {
            hosts += 1;
        } else if field.name.eq_ignore_ascii_case("content-length") {
            let digits = std::str::from_utf8(field.value)
                .ok()
                .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
            let announced = digits.and_then(|text| text.parse().ok()).ok_or(Code::BadFraming)?;
            if length.replace(announced).is_some() {
                return Err(Code::BadFraming);
            }
        } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
            if chunked || !http11 || !field.value.eq_ignore_ascii_case(b"chunked") {
                return Err(Code::BadFraming);
            }
            chunked = true;
        }
    }
    // HTTP/1.1 needs exactly one (RFC 9112 section 3.2); HTTP/1.0 knew none.
    if hosts > 1 || (http11 && hosts == 0) {
        return Err(Code::BadHost);
    }
    match (length, chunked) {
        (Some(_), true) => Err(Code::BadFraming),
        (None, true) => Ok(Expecting::Chunks),
        (Some(0) | None, false) => Ok(Expecting::Head),
        (Some(length), false) => Ok(Expecting::Body(length)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn screened(text: &str) -> Result<(), Code> {
        Screen::new().take(text.as_bytes())
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for (fields, code) in [
            ("", Code::BadHost),
            ("Host: a\r\nHost: a\r\n", Code::BadHost),
            ("Host: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n", Code::BadFraming),
            ("Host: a\r\nContent-Length: +1\r\n", Code::BadFraming),
            ("Host: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n", Code::BadFraming),
            ("Host: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n", Code::BadFraming),
            ("Host: a\r\nTransfer-Encoding: gzip, chunked\r\n", Code::BadFraming),
            ("Host: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", Code::BadFraming),
            ("Host: a\r\nTransfer-Encoding: identity\r\n", Code::BadFraming),
            ("Host: a\r\nX: a\r\n folded\r\n", Code::MalformedRequest),
            ("Host : a\r\n", Code::MalformedRequest),
        ] {
            assert_eq!(screened(&format!("PUT /x HTTP/1.1\r\n{fields}\r\n")), Err(code), "{fields}");
        }
    }

    #[test]
    fn heads_have_a_size() {
        let many = "X: y\r\n".repeat(64);
        assert_eq!(screened(&format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n")), Err(Code::HeaderTooLarge));
        let long = "y".repeat(MAX_HEAD);
        assert_eq!(
            screened(&format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n")),
            Err(Code::HeaderTooLarge)
        );
        assert_eq!(screened(&format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}")), Err(Code::HeaderTooLarge));
    }

    #[test]
    fn a_second_request_behind_a_body_is_looked_at_too_however_it_is_cut() {
        let good = "PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 40\r\n\r\nGET / HTTP/1.1\r\n0123456789012345678901\r\n";
        let bad = "GET / HTTP/1.1\r\n\r\n";
        let text = format!("{good}{bad}");
        for cut in 1..text.len() {
            let (first, second) = text.as_bytes().split_at(cut);
            let mut screen = Screen::new();
            let verdict = screen.take(first).and_then(|()| screen.take(second));
            assert_eq!(verdict, Err(Code::BadHost), "cut at {cut}");
        }
    }

    #[test]
    fn behind_chunks_a_head_is_expected_when_the_body_has_ended() {
        let mut screen = Screen::new();
        screen
            .take(b"PUT /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
            .unwrap();
        screen.body_ended();
        assert_eq!(screen.take(b"GET / HTTP/1.1\r\n\r\n"), Err(Code::BadHost));
    }

    #[test]
    fn a_head_that_has_begun_is_known() {
        let mut screen = Screen::new();
        assert!(!screen.within_head());
        screen.take(b"GET /").unwrap();
        assert!(screen.within_head());
        screen.take(b" HTTP/1.0\r\n\r\n").unwrap();
        assert!(!screen.within_head());
    }
}
