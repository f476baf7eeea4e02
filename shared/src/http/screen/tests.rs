//! What goes through, what is refused, and what is read beside hyper.

use super::*;

const BAD: &str = "GET / HTTP/1.1\r\n\r\n";

/// A connection: a screen, and bodies that are read beside it.
#[derive(Debug)]
struct Read {
    screen: Screen,
    beside: u64,
}

impl Read {
    fn new() -> Self {
        Self { screen: Screen::new(), beside: 0 }
    }

    /// How many bytes are taken, here or there.
    fn take(&mut self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        loop {
            let of_body = usize::try_from(self.beside).unwrap().min(bytes.len() - taken);
            self.beside -= of_body as u64;
            taken += of_body;
            let (through, body) = self.screen.take(&bytes[taken..], true);
            taken += through;
            let Some(body) = body else { return taken };
            self.beside = body.length;
        }
    }
}

/// Why a head is refused, all of it come at once.
fn refused(text: &str) -> Option<Code> {
    let mut read = Read::new();
    let through = read.take(text.as_bytes());
    match read.screen.broken() {
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
    let mut read = Read::new();
    let endless = (0..).find(|_| read.take(b"\r\n") == 0);
    assert_eq!(
        (endless, read.screen.broken()),
        (Some(MAX_HEAD / 2), Some(Broken::Head(Code::HeaderTooLarge)))
    );
}

#[test]
fn a_head_in_pieces_is_kept_no_further_than_its_limit() {
    let mut read = Read::new();
    read.take(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n");
    assert!(read.screen.within_head());
    let rest = [b"\r\n", [b'x'; 900_000].as_slice()].concat();
    assert_eq!((read.take(&rest), read.screen.partial.capacity()), (rest.len(), 0));
    let mut read = Read::new();
    read.take(b"GET / HTTP/1.1\r\nX: ");
    assert_eq!(read.take(&[b'y'; 900_000]), 0);
    assert_eq!(read.screen.broken(), Some(Broken::Head(Code::HeaderTooLarge)));
    assert_eq!(read.screen.partial.len(), MAX_HEAD + 1);
}

#[test]
fn good_requests_go_through_and_the_bad_head_behind_them_does_not_however_they_are_cut() {
    let length = "PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 21\r\n\r\nGET / HTTP/1.1\r\n12345";
    let chunks = "PUT /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let good = format!("{length}{chunks}\r\n{length}");
    let text = format!("{good}{BAD}");
    for cut in 0..text.len() {
        let (first, second) = text.as_bytes().split_at(cut);
        let mut read = Read::new();
        let through = read.take(first) + read.take(second);
        assert_eq!(read.screen.broken(), Some(Broken::Head(Code::BadHost)), "cut at {cut}");
        // What came of the bad head before it was known for one has gone through.
        assert_eq!(through, cut.max(good.len()), "cut at {cut}");
        assert_eq!(read.take(b"GET"), 0);
    }
}

#[test]
fn a_body_whose_head_came_in_one_piece_is_read_beside_hyper() {
    let head = "PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0012\r\n\r\n";
    let text = format!("\r\n{head}hello");
    let mut screen = Screen::new();
    let (through, body) = screen.take(text.as_bytes(), true);
    assert_eq!(text.get(through..), Some("hello"));
    let body = body.unwrap();
    assert_eq!((body.length, text.get(body.said_at)), (12, Some("0012")));
    assert_eq!(screen.take(BAD.as_bytes(), true), (0, None), "what comes next is a head");
    let behind = format!("GET /a HTTP/1.1\r\nHost: a\r\n\r\n{head}");
    for (text, alone) in [(head, false), (behind.as_str(), true)] {
        assert_eq!(Screen::new().take(text.as_bytes(), alone), (text.len(), None), "others are before it");
    }
    let (first, second) = head.as_bytes().split_at(head.len() / 2);
    let mut screen = Screen::new();
    assert_eq!(
        [first, second].map(|piece| screen.take(piece, true)),
        [first, second].map(|piece| (piece.len(), None))
    );
    for (version, expects) in [("1.1", true), ("1.0", false)] {
        let head = head.replace("Host", "expect: 100-Continue\r\nHost").replace("1.1", version);
        let (_, body) = Screen::new().take(head.as_bytes(), true);
        assert_eq!(body.map(|body| body.is_waited_for), Some(expects), "HTTP/{version}");
    }
}

#[test]
fn a_broken_chunk_is_no_matter_of_heads() {
    let mut read = Read::new();
    let text = "PUT /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello";
    assert_eq!(read.take(format!("{text}!!{BAD}").as_bytes()), text.len());
    assert_eq!(read.screen.broken(), Some(Broken::Body));
}

#[test]
fn a_head_that_has_begun_is_known() {
    let mut read = Read::new();
    for (bytes, begun) in
        [("\r\n", false), ("GET /", true), (" HTTP/1.0\r\n", true), ("\r\n", false), ("\r\n\r", false)]
    {
        read.take(bytes.as_bytes());
        assert_eq!(read.screen.within_head(), begun, "{bytes:?}");
    }
}
