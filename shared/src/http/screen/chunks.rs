//! Follows a chunked body from outside, to know where it ends.
//!
//! It takes what hyper takes, and nothing more: who reads a body in another way than hyper would find the next head elsewhere. It
//! keeps no byte, and the inside of a chunk is passed over in one step.

/// Where in a chunked body (RFC 9112 section 7.1) the next byte is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Chunks {
    /// In a chunk's size, before its first digit.
    Start,
    /// Behind a digit of the size.
    Size(u64),
    /// In the white space behind the size.
    Space(u64),
    /// In an extension, which means nothing here.
    Extension(u64),
    /// Behind the CR of the size's line.
    SizeLf(u64),
    /// In a chunk of which this many bytes are to come.
    Data(u64),
    /// Behind the last byte of a chunk.
    DataCr,
    /// Behind the CR of a chunk's end.
    DataLf,
    /// At the beginning of a trailer's line, or of the end.
    Line,
    /// In a trailer's line.
    Trailer,
    /// Behind the CR of a trailer's line.
    TrailerLf,
    /// Behind the CR of the empty line that ends the body.
    EndLf,
    /// The body has ended.
    Ended,
    /// This is no chunked body.
    Broken,
}

impl Chunks {
    /// Takes in what was read, up to the body's end or to the byte that breaks it; says how many bytes that is.
    pub(super) fn take(&mut self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        while let Some(byte) = bytes.get(taken) {
            let passed = match *self {
                Self::Data(left) => {
                    let rest = bytes.len() - taken;
                    usize::try_from(left).map_or(rest, |left| left.min(rest))
                }
                _ => 1,
            };
            *self = match *self {
                Self::Ended | Self::Broken => break,
                Self::Data(left) if left > passed as u64 => Self::Data(left - passed as u64),
                Self::Data(_) => Self::DataCr,
                state => state.step(*byte),
            };
            if *self == Self::Broken {
                break;
            }
            taken += passed;
        }
        taken
    }

    /// The state behind this byte, outside of the data.
    fn step(self, byte: u8) -> Self {
        match (self, byte) {
            (Self::Start, _) => Self::digit(0, byte),
            (Self::Size(size) | Self::Space(size), b' ' | b'\t') => Self::Space(size),
            (Self::Size(size) | Self::Space(size), b';') => Self::Extension(size),
            (Self::Size(size) | Self::Space(size) | Self::Extension(size), b'\r') => Self::SizeLf(size),
            (Self::Size(size), _) => Self::digit(size, byte),
            (Self::Extension(size), byte) if byte != b'\n' => Self::Extension(size),
            (Self::SizeLf(0), b'\n') => Self::Line,
            (Self::SizeLf(size), b'\n') => Self::Data(size),
            (Self::DataCr, b'\r') => Self::DataLf,
            (Self::DataLf, b'\n') => Self::Start,
            (Self::Line, b'\r') => Self::EndLf,
            (Self::Trailer, b'\r') => Self::TrailerLf,
            (Self::Line | Self::Trailer, byte) if byte != b'\n' => Self::Trailer,
            (Self::TrailerLf, b'\n') => Self::Line,
            (Self::EndLf, b'\n') => Self::Ended,
            _ => Self::Broken,
        }
    }

    /// One more digit of a size; a size that no number holds is none.
    fn digit(size: u64, byte: u8) -> Self {
        let digit = char::from(byte).to_digit(16).map(u64::from);
        let size = digit.and_then(|digit| size.checked_mul(16)?.checked_add(digit));
        size.map_or(Self::Broken, Self::Size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(text: &str) -> (usize, Chunks) {
        let mut chunks = Chunks::Start;
        (chunks.take(text.as_bytes()), chunks)
    }

    #[test]
    fn a_body_ends_where_it_says_however_it_is_cut() {
        for body in [
            "0\r\n\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
            "7\r\n\r\n0\r\n\r\n\r\n000\r\n\r\n",
            "A \t;x=\"y\"\r\n0123456789\r\n00;z\r\n\r\n",
            "1\r\nx\r\n0\r\nX: 0\r\nY: z\r\n\r\n",
        ] {
            let text = format!("{body}GET / HTTP/1.1\r\n");
            for cut in 0..body.len() {
                let (mut chunks, (first, second)) = (Chunks::Start, text.as_bytes().split_at(cut));
                assert_eq!(chunks.take(first) + chunks.take(second), body.len(), "{body:?} cut at {cut}");
                assert_eq!(chunks, Chunks::Ended, "{body:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn what_is_no_chunked_body_ends_before_the_byte_that_breaks_it() {
        for (before, after) in [
            ("", "x"),
            ("", "\r\n"),
            ("", "-1\r\n"),
            ("5", "\nhello"),
            ("5 ", "5\r\n"),
            ("5;x", "\ny\r\n"),
            ("5\r", "\r\n"),
            ("5\r\nhello", "!\r\n"),
            ("5\r\nhello", "\n"),
            ("5\r\nhello\r", "0"),
            ("ffffffffffffffff", "f\r\n"),
            ("0\r\n", "\n"),
            ("0\r\nX: y", "\n\r\n"),
            ("0\r\nX: y\r", "Y: z"),
            ("0\r\n\r", "x"),
        ] {
            let text = format!("{before}{after}");
            assert_eq!(take(&text), (before.len(), Chunks::Broken), "{text:?}");
        }
    }

    #[test]
    fn the_largest_chunk_is_passed_over_as_a_whole() {
        let mut chunks = Chunks::Start;
        chunks.take(b"ffffffffffffffff\r\n");
        assert_eq!(chunks.take(&[b'\n'; 1000]), 1000);
        assert_eq!(chunks, Chunks::Data(u64::MAX - 1000));
    }
}
