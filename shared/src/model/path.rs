//! The path a client gives an object: a name in a listing, never a path on a disk.

use std::{fmt, str::FromStr, sync::Arc};

use percent_encoding::percent_decode_str;

use super::text::in_json_as_text;

/// The longest path, in bytes after decoding; S3 allows as much for a key.
const MAX_PATH_BYTES: usize = 1024;

/// Segments of text with `/` between them: no empty one, no `.` or `..`, no control character, at most 1,024 bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectPath(Arc<str>);

in_json_as_text!(ObjectPath);

impl ObjectPath {
    /// Reads the part of a request's target behind `/v1/files/`, percent-encoded as RFC 3986 says.
    ///
    /// # Errors
    /// When the encoding or the path breaks a rule.
    pub fn from_encoded(encoded: &str) -> Result<Self, PathError> {
        check_encoding(encoded.as_bytes())?;
        percent_decode_str(encoded).decode_utf8().map_err(|_| PathError::NotUtf8)?.parse()
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands behind the last `/`.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }
}

impl FromStr for ObjectPath {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        if text.len() > MAX_PATH_BYTES {
            return Err(PathError::TooLong { bytes: text.len() });
        }
        if text.chars().any(char::is_control) {
            return Err(PathError::Control);
        }
        for segment in text.split('/') {
            match segment {
                "" => return Err(PathError::EmptySegment),
                "." | ".." => return Err(PathError::DotSegment),
                _ => {}
            }
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for ObjectPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ObjectPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

fn check_encoding(bytes: &[u8]) -> Result<(), PathError> {
    let mut rest = bytes.iter();
    while let Some(byte) = rest.next() {
        if *byte == b'%' {
            let hex = |digit: Option<&u8>| digit.is_some_and(u8::is_ascii_hexdigit);
            if !(hex(rest.next()) && hex(rest.next())) {
                return Err(PathError::Encoding);
            }
        }
    }
    Ok(())
}

/// A path breaks a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// A `%` without two hexadecimal digits behind it.
    #[error("a '%' in the path needs two hexadecimal digits behind it; write '%25' for the character itself")]
    Encoding,
    /// The decoded bytes are not text.
    #[error("the path is not UTF-8 after decoding")]
    NotUtf8,
    /// A NUL, a line break or another control character.
    #[error("the path has a control character")]
    Control,
    /// `//`, or a `/` at the beginning or the end, or nothing at all.
    #[error("the path has an empty segment; it needs text before and behind every '/'")]
    EmptySegment,
    /// `.` or `..` as a segment.
    #[error("the path has '.' or '..' as a segment")]
    DotSegment,
    /// Over 1,024 bytes.
    #[error("the path has {bytes} bytes; at most 1024 are allowed")]
    TooLong {
        /// Its length after decoding.
        bytes: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_mislead_is_refused() {
        for (bad, why) in [
            ("", PathError::EmptySegment),
            ("a//b", PathError::EmptySegment),
            ("a/", PathError::EmptySegment),
            ("%2Fa", PathError::EmptySegment),
            ("../a", PathError::DotSegment),
            ("a/%2e%2E/b", PathError::DotSegment),
            ("a/./b", PathError::DotSegment),
            ("a%00b", PathError::Control),
            ("a%0Ab", PathError::Control),
            ("a%C2%85b", PathError::Control),
            ("a%", PathError::Encoding),
            ("a%2", PathError::Encoding),
            ("a%zz", PathError::Encoding),
            ("a%ff", PathError::NotUtf8),
        ] {
            assert_eq!(ObjectPath::from_encoded(bad), Err(why), "{bad}");
        }
    }

    #[test]
    fn length_is_measured_after_decoding() {
        assert!(ObjectPath::from_encoded(&"%61".repeat(1024)).is_ok());
        assert_eq!(ObjectPath::from_encoded(&"a".repeat(1025)), Err(PathError::TooLong { bytes: 1025 }));
    }

    #[test]
    fn spaces_and_other_scripts_are_fine() {
        let path = ObjectPath::from_encoded("2026/caf%C3%A9%20menu.pdf").unwrap();
        assert_eq!(path.as_str(), "2026/café menu.pdf");
        assert_eq!(path.file_name(), "café menu.pdf");
    }
}
