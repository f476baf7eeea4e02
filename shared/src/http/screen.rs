//! Looks at every request's head before hyper does, and refuses what could be read in two ways.
//!
//! hyper takes `Content-Length` beside `Transfer-Encoding` (and drops it), any number of `Host` fields, lines that end without CR,
//! and very large heads. A proxy in front may read such a request differently: that is how requests are smuggled (RFC 9112 section
//! 11.2). For the same reason bodies are followed to their end, whoever reads them: what comes behind is a head again, though it
//! came in the same packet.
//!
//! Bytes go through up to the head that breaks a rule, and then no more: who sent good requests before it gets their answers first.

mod chunks;

use std::ops::Range;

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

/// A body that is read beside hyper, behind the head that announced it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Announced {
    /// How many bytes it has; at least one.
    pub(super) length: u64,
    /// Where the head says so, counted from its first byte.
    pub(super) said_at: Range<usize>,
    /// Whether the client waits to be told that it is wanted (RFC 9110 section 10.1.1).
    pub(super) is_waited_for: bool,
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

/// What comes behind a head.
enum Behind {
    /// Something that goes through here.
    Within(Expecting),
    /// A body that can be read beside hyper.
    Beside(Announced),
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

    /// Whether a head is to come, or the rest of one.
    pub(super) fn is_at_head(&self) -> bool {
        matches!(self.expecting, Expecting::Head)
    }

    /// The rule that was broken, if one was: nothing goes through any more.
    pub(super) fn broken(&self) -> Option<Broken> {
        match self.expecting {
            Expecting::Nothing(broken) => Some(broken),
            Expecting::Head | Expecting::Body(_) | Expecting::Chunks(_) => None,
        }
    }

    /// Takes in what was read; says how many bytes of it go through. All do, unless a rule is [`broken`](Self::broken), or a body
    /// comes that is to be read beside hyper: then those up to that body, which this screen does not see. That is for a request which
    /// is `alone`, with no other one before it that has yet to be answered.
    pub(super) fn take(&mut self, bytes: &[u8], alone: bool) -> (usize, Option<Announced>) {
        let mut through = 0;
        while let Some(rest) = bytes.get(through..).filter(|rest| !rest.is_empty()) {
            let (taken, expecting) = match self.expecting {
                Expecting::Nothing(_) => break,
                Expecting::Head => match self.take_head(rest) {
                    Ok((taken, Behind::Within(expecting))) => (taken, expecting),
                    Ok((taken, Behind::Beside(body))) if alone && through == 0 => return (taken, Some(body)),
                    Ok((taken, Behind::Beside(body))) => (taken, Expecting::Body(body.length)),
                    Err(code) => (0, broken_head(code)),
                },
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
        (through, None)
    }

    /// Takes in bytes of a head, up to its end; says how many those are, and what comes then.
    fn take_head(&mut self, bytes: &[u8]) -> Result<(usize, Behind), Code> {
        let before = self.partial.len();
        let whole = if before == 0 {
            bytes
        } else {
            let room = (MAX_HEAD + 1).saturating_sub(before).min(bytes.len());
            self.partial.extend_from_slice(bytes.get(..room).unwrap_or_default());
            // Who sends byte by byte makes it be read again for each line only.
            if self.partial.len() <= MAX_HEAD && !bytes.contains(&b'\n') {
                return Ok((bytes.len(), Behind::Within(Expecting::Head)));
            }
            &self.partial
        };
        if let Some((length, behind)) = check(whole)? {
            self.partial = Vec::new();
            // What came of a head before its end is hyper's by now, and so its body is.
            let behind = match behind {
                Behind::Beside(body) if before > 0 => Behind::Within(Expecting::Body(body.length)),
                behind => behind,
            };
            return Ok((length.saturating_sub(before), behind));
        }
        if before == 0 {
            self.partial.extend_from_slice(bytes);
        }
        Ok((bytes.len(), Behind::Within(Expecting::Head)))
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
fn check(bytes: &[u8]) -> Result<Option<(usize, Behind)>, Code> {
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
    Ok(Some((length, framing(bytes, first_minor, request.headers)?)))
}

fn framing(head: &[u8], http11: bool, fields: &[httparse::Header<'_>]) -> Result<Behind, Code> {
    let (mut hosts, mut length, mut chunked, mut expects) = (0, None, false, false);
    for field in fields {
        if field.name.eq_ignore_ascii_case("host") {
            hosts += 1;
        } else if field.name.eq_ignore_ascii_case("content-length") {
            let digits = std::str::from_utf8(field.value)
                .ok()
                .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
            let announced = digits.and_then(|text| text.parse().ok()).filter(|length| *length <= MAX_LENGTH);
            let said_at = range_within(head, field.value);
            if length.replace((announced.ok_or(Code::BadFraming)?, said_at)).is_some() {
                return Err(Code::BadFraming);
            }
        } else if field.name.eq_ignore_ascii_case("expect") {
            expects = field.value.eq_ignore_ascii_case(b"100-continue");
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
        (None, true) => Ok(Behind::Within(Expecting::Chunks(Chunks::Start))),
        (Some((0, _)) | None, false) => Ok(Behind::Within(Expecting::Head)),
        (Some((length, said_at)), false) => {
            Ok(Behind::Beside(Announced { length, said_at, is_waited_for: http11 && expects }))
        }
    }
}

/// Where a part of a text is in it.
fn range_within(text: &[u8], part: &[u8]) -> Range<usize> {
    let start = part.as_ptr().addr() - text.as_ptr().addr();
    start..start + part.len()
}

#[cfg(test)]
mod tests;
