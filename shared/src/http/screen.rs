//! Looks at every request's head before hyper does, and refuses what could be read in two ways.
//!
//! hyper takes `Content-Length` beside `Transfer-Encoding` (and drops it), any number of `Host` fields, lines that end without CR,
//! and very large heads. A proxy in front may read such a request differently: that is how requests are smuggled (RFC 9112 section
//! 11.2). For the same reason bodies are followed to their end, whoever reads them: what comes behind is a head again, though it
//! came in the same packet.
//!
//! Bytes go through up to the head that breaks a rule, and then no more: who sent good requests before it gets their answers first.

mod chunks;

use http::Uri;

use self::chunks::Chunks;
use super::Code;

/// The longest head, in bytes.
pub(super) const MAX_HEAD: usize = 32 << 10;

/// The most fields in a head.
pub(super) const MAX_FIELDS: usize = 64;

/// The longest body that can be announced, in bytes: nobody has more, and hyper counts no further than a little below 2^64.
const MAX_LENGTH: u64 = u64::MAX >> 1;

/// Follows one connection's bytes as they are read: head, body, head, body.
#[derive(Debug)]
pub(super) struct Screen {
    expecting: Expecting,
    /// The beginning of a head whose end has not come: at most one byte more than [`MAX_HEAD`].
    partial: Vec<u8>,
}

/// What the next bytes belong to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Expecting {
    Head,
    /// A body of which this many bytes are to come.
    Body(u64),
    Chunks(Chunks),
    /// Nobody knows: a rule was broken.
    Nothing(Broken),
}

/// What broke a rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Broken {
    /// A head; this is its answer.
    Head(Code),
    /// A chunked body; its answer is for those who read it.
    Body,
}

impl Screen {
    pub(super) fn new() -> Self {
        Self { expecting: Expecting::Head, partial: Vec::new() }
    }

    /// Lets everything through: a connection that has no heads in text.
    pub(super) fn open() -> Self {
        Self { expecting: Expecting::Body(u64::MAX), partial: Vec::new() }
    }

    /// Whether a request's head has begun, and not come to its end. Empty lines before it do not count.
    pub(super) fn within_head(&self) -> bool {
        self.partial.iter().any(|byte| !matches!(byte, b'\r' | b'\n'))
    }

    /// Whether the last request was read to its end, and nothing of the next one has come.
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.expecting, Expecting::Head) && self.partial.is_empty()
    }

    /// The rule that was broken, if one was: nothing goes through any more.
    pub(super) fn broken(&self) -> Option<Broken> {
        match self.expecting {
            Expecting::Nothing(broken) => Some(broken),
            Expecting::Head | Expecting::Body(_) | Expecting::Chunks(_) => None,
        }
    }

    /// Takes in what was read; says how many bytes of it go through. All do, unless a rule is [`broken`](Self::broken).
    pub(super) fn take(&mut self, bytes: &[u8]) -> usize {
        let mut through = 0;
        while let Some(rest) = bytes.get(through..).filter(|rest| !rest.is_empty()) {
            let (taken, expecting) = match self.expecting {
                Expecting::Nothing(_) => break,
                Expecting::Head => self.take_head(rest).unwrap_or_else(|code| (0, broken_head(code))),
                Expecting::Body(left) => {
                    let taken = usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
                    let left = left - taken as u64;
                    (taken, if left == 0 { Expecting::Head } else { Expecting::Body(left) })
                }
                Expecting::Chunks(mut chunks) => (chunks.take(rest), behind(chunks)),
            };
            self.expecting = expecting;
            through += taken;
        }
        through
    }

    /// Takes in bytes of a head, up to its end; says how many those are, and what comes then.
    fn take_head(&mut self, bytes: &[u8]) -> Result<(usize, Expecting), Code> {
        let before = self.partial.len();
        let whole = if before == 0 {
            bytes
        } else {
            let room = (MAX_HEAD + 1).saturating_sub(before).min(bytes.len());
            self.partial.extend_from_slice(bytes.get(..room).unwrap_or_default());
            // Who sends byte by byte makes it be read again for each line only.
            if self.partial.len() <= MAX_HEAD && !bytes.contains(&b'\n') {
                return Ok((bytes.len(), Expecting::Head));
            }
            &self.partial
        };
        if let Some((length, expecting)) = check(whole)? {
            self.partial = Vec::new();
            return Ok((length.saturating_sub(before), expecting));
        }
        if before == 0 {
            self.partial.extend_from_slice(bytes);
        }
        Ok((bytes.len(), Expecting::Head))
    }
}

fn broken_head(code: Code) -> Expecting {
    Expecting::Nothing(Broken::Head(code))
}

/// What to expect behind these bytes of a chunked body.
fn behind(chunks: Chunks) -> Expecting {
    match chunks {
        Chunks::Ended => Expecting::Head,
        Chunks::Broken => Expecting::Nothing(Broken::Body),
        within => Expecting::Chunks(within),
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
    let mut lines = bytes.get(..length).unwrap_or_default().split_inclusive(|byte| *byte == b'\n');
    let target = request.path.and_then(|target| target.parse::<Uri>().ok());
    if lines.any(|line| !line.ends_with(b"\r\n")) || target.is_none() {
        return Err(Code::MalformedRequest);
    }
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
            let announced = digits.and_then(|text| text.parse().ok()).filter(|length| *length <= MAX_LENGTH);
            if length.replace(announced.ok_or(Code::BadFraming)?).is_some() {
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
        (None, true) => Ok(Expecting::Chunks(Chunks::Start)),
        (Some(0) | None, false) => Ok(Expecting::Head),
        (Some(length), false) => Ok(Expecting::Body(length)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BAD: &str = "GET / HTTP/1.1\r\n\r\n";

    /// Why a head is refused, all of it come at once.
    fn refused(text: &str) -> Option<Code> {
        let mut screen = Screen::new();
        let through = screen.take(text.as_bytes());
        match screen.broken() {
            Some(Broken::Head(code)) => {
                assert_eq!(through, 0, "{text:?}");
                Some(code)
            }
            other => {
                assert_eq!((other, through), (None, text.len()), "{text:?}");
                None
            }
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for (fields, code) in [
            ("", Code::BadHost),
            ("Host: a\r\nHost: a\r\n", Code::BadHost),
            ("Host: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n", Code::BadFraming),
            ("Host: a\r\nContent-Length: +1\r\n", Code::BadFraming),
            ("Host: a\r\nContent-Length: 9223372036854775808\r\n", Code::BadFraming),
            ("Host: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n", Code::BadFraming),
            ("Host: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n", Code::BadFraming),
            ("Host: a\r\nTransfer-Encoding: gzip, chunked\r\n", Code::BadFraming),
            ("Host: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", Code::BadFraming),
            ("Host: a\r\nTransfer-Encoding: identity\r\n", Code::BadFraming),
            ("Host: a\r\nX: a\r\n folded\r\n", Code::MalformedRequest),
            ("Host : a\r\n", Code::MalformedRequest),
            ("Host: a\nX: b\r\n", Code::MalformedRequest),
            ("Host: a\rX: b\r\n", Code::MalformedRequest),
        ] {
            assert_eq!(refused(&format!("PUT /x HTTP/1.1\r\n{fields}\r\n")), Some(code), "{fields}");
        }
    }

    #[test]
    fn what_hyper_would_refuse_without_a_word_is_refused_here() {
        for target in ["a/b", "http://", "*/"] {
            let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
            assert_eq!(refused(&head), Some(Code::MalformedRequest), "{target}");
        }
    }

    #[test]
    fn heads_have_a_size() {
        let head = |fields: &str| format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}");
        let long = format!("X: {}\r\n", "y".repeat(MAX_HEAD - head("X: \r\n\r\n").len()));
        assert_eq!(refused(&(head(&"X: y\r\n".repeat(63)) + "\r\n")), None);
        assert_eq!(refused(&(head(&long) + "\r\n")), None);
        for head in [head(&"X: y\r\n".repeat(64)), head(&format!("X{long}"))] {
            assert_eq!(refused(&(head + "\r\n")), Some(Code::HeaderTooLarge));
        }
        // Nobody waits for the end of one that is too large already.
        assert_eq!(refused(&head(&"X: y\r\n".repeat(65))), Some(Code::HeaderTooLarge));
        assert_eq!(refused(&head(&format!("X{long}"))), None);
        assert_eq!(refused(&head(&format!("XXXX{long}"))), Some(Code::HeaderTooLarge));
        let mut screen = Screen::new();
        let endless = (0..).find(|_| screen.take(b"\r\n") == 0);
        assert_eq!(
            (endless, screen.broken()),
            (Some(MAX_HEAD / 2), Some(Broken::Head(Code::HeaderTooLarge)))
        );
    }

    #[test]
    fn a_head_in_pieces_is_kept_no_further_than_its_limit() {
        let mut screen = Screen::new();
        screen.take(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n");
        assert!(screen.within_head());
        let rest = [b"\r\n", [b'x'; 900_000].as_slice()].concat();
        assert_eq!((screen.take(&rest), screen.partial.capacity()), (rest.len(), 0));
        let mut screen = Screen::new();
        screen.take(b"GET / HTTP/1.1\r\nX: ");
        assert_eq!(screen.take(&[b'y'; 900_000]), 0);
        assert_eq!(screen.broken(), Some(Broken::Head(Code::HeaderTooLarge)));
        assert_eq!(screen.partial.len(), MAX_HEAD + 1);
    }

    #[test]
    fn good_requests_go_through_and_the_bad_head_behind_them_does_not_however_they_are_cut() {
        let length = "PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 21\r\n\r\nGET / HTTP/1.1\r\n12345";
        let chunks =
            "PUT /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
        let good = format!("{length}{chunks}\r\n{length}");
        let text = format!("{good}{BAD}");
        for cut in 0..text.len() {
            let (first, second) = text.as_bytes().split_at(cut);
            let mut screen = Screen::new();
            let through = screen.take(first) + screen.take(second);
            assert_eq!(screen.broken(), Some(Broken::Head(Code::BadHost)), "cut at {cut}");
            // What came of the bad head before it was known for one has gone through.
            assert_eq!(through, cut.max(good.len()), "cut at {cut}");
            assert_eq!(screen.take(b"GET"), 0);
        }
    }

    #[test]
    fn a_broken_chunk_is_no_matter_of_heads() {
        let mut screen = Screen::new();
        let text = "PUT /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello";
        assert_eq!(screen.take(format!("{text}!!{BAD}").as_bytes()), text.len());
        assert_eq!(screen.broken(), Some(Broken::Body));
    }

    #[test]
    fn a_head_that_has_begun_is_known() {
        let mut screen = Screen::new();
        for (bytes, begun) in
            [("\r\n", false), ("GET /", true), (" HTTP/1.0\r\n", true), ("\r\n", false), ("\r\n\r", false)]
        {
            screen.take(bytes.as_bytes());
            assert_eq!(screen.within_head(), begun, "{bytes:?}");
        }
    }
}
