//! The digests that a client announces (RFC 9530), in the head or in a trailer, and whether the bytes have them.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use headworks_shared::{
    model::{Digests, Hasher},
    storage::BodyError,
};
use http::{HeaderMap, HeaderName, header};

/// The digest of the message's content.
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");

/// The digest of what is stored; the same for an upload, which has no content coding.
const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");

/// What a client announced.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Announced {
    crc64nvme: Option<[u8; 8]>,
    sha256: Option<[u8; 32]>,
    sha512: Option<[u8; 64]>,
    /// A digest may come in a trailer: then all of them are computed.
    in_trailer: bool,
}

/// A digest header that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AnnouncedError {
    /// Not a dictionary of byte sequences.
    #[error(
        "a digest header looks like sha-256=:base64:, with sha-512 and crc64nvme as the other algorithms; '{0}' does not"
    )]
    Syntax(String),
    /// A known algorithm with bytes of another length.
    #[error("a {algorithm} has {expected} bytes, not {given}")]
    Length { algorithm: &'static str, expected: usize, given: usize },
    /// Two values for one algorithm.
    #[error("two different {0} digests")]
    Contradiction(&'static str),
}

impl Announced {
    /// Reads the head of a request. Unknown algorithms are passed over, as RFC 9530 section 2 says.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, AnnouncedError> {
        let mut announced = Self::default();
        announced.read(headers)?;
        let trailers = headers.get_all(header::TRAILER).iter().filter_map(|names| names.to_str().ok());
        announced.in_trailer = trailers.flat_map(|names| names.split(',')).map(str::trim).any(|name| {
            name.eq_ignore_ascii_case(CONTENT_DIGEST.as_str())
                || name.eq_ignore_ascii_case(REPR_DIGEST.as_str())
        });
        Ok(announced)
    }

    pub(crate) fn wants_sha256(&self) -> bool {
        self.sha256.is_some() || self.in_trailer
    }

    pub(crate) fn wants_sha512(&self) -> bool {
        self.sha512.is_some() || self.in_trailer
    }

    /// Takes in digests from a trailer. One that was not computed, because `Trailer` did not announce it, proves nothing and is refused.
    pub(super) fn add_trailers(&mut self, fields: &HeaderMap, computed: &Hasher) -> Result<(), BodyError> {
        self.read(fields).map_err(|_| BodyError::Malformed("a digest in the trailer cannot be read"))?;
        let unknown = (self.sha256.is_some() && computed.digests().sha256.is_none())
            || (self.sha512.is_some() && computed.sha512().is_none());
        if unknown {
            return Err(BodyError::Malformed(
                "a digest in the trailer needs 'Trailer: Content-Digest' in the head",
            ));
        }
        Ok(())
    }

    /// The first algorithm whose digest is not that of the bytes.
    pub(super) fn mismatch(&self, hasher: &Hasher) -> Option<&'static str> {
        let is = hasher.digests();
        let sha512 = |wanted: [u8; 64]| hasher.sha512().is_some_and(|is| is != wanted);
        self.differs(&is).or_else(|| self.sha512.is_some_and(sha512).then_some("sha-512"))
    }

    /// The first algorithm by which these are other bytes.
    pub(crate) fn differs(&self, is: &Digests) -> Option<&'static str> {
        let crc = |wanted: [u8; 8]| is.crc64nvme.0.to_be_bytes() != wanted;
        let sha256 = |wanted: [u8; 32]| is.sha256.is_some_and(|is| is.0 != wanted);
        if self.crc64nvme.is_some_and(crc) {
            Some("crc64nvme")
        } else if self.sha256.is_some_and(sha256) {
            Some("sha-256")
        } else {
            None
        }
    }

    /// Whether these bytes are known to be the announced ones, by a digest that both have.
    pub(crate) fn proves(&self, is: &Digests) -> bool {
        let comparable = self.crc64nvme.is_some() || (self.sha256.is_some() && is.sha256.is_some());
        comparable && self.differs(is).is_none()
    }

    fn read(&mut self, headers: &HeaderMap) -> Result<(), AnnouncedError> {
        for name in [CONTENT_DIGEST, REPR_DIGEST] {
            for value in headers.get_all(name) {
                let text = value.to_str().map_err(|_| AnnouncedError::Syntax(format!("{value:?}")))?;
                text.split(',').try_for_each(|member| self.read_member(member.trim()))?;
            }
        }
        Ok(())
    }

    fn read_member(&mut self, member: &str) -> Result<(), AnnouncedError> {
        let syntax = || AnnouncedError::Syntax(member.to_owned());
        let (name, value) = member.split_once('=').ok_or_else(syntax)?;
        let encoded = value.strip_prefix(':').and_then(|rest| rest.strip_suffix(':')).ok_or_else(syntax)?;
        let bytes = BASE64.decode(encoded).map_err(|_| syntax())?;
        if !is_key(name) {
            return Err(syntax());
        }
        match name {
            "crc64nvme" => set(&mut self.crc64nvme, &bytes, "crc64nvme"),
            "sha-256" => set(&mut self.sha256, &bytes, "sha-256"),
            "sha-512" => set(&mut self.sha512, &bytes, "sha-512"),
            _ => Ok(()),
        }
    }
}

/// Whether it is a key of a dictionary (RFC 9651 section 3.1.2).
fn is_key(name: &str) -> bool {
    let other = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.*".contains(byte);
    name.starts_with(|first: char| first.is_ascii_lowercase() || first == '*')
        && name.as_bytes().iter().all(other)
}

fn set<const N: usize>(
    place: &mut Option<[u8; N]>,
    bytes: &[u8],
    algorithm: &'static str,
) -> Result<(), AnnouncedError> {
    let wrong_length = |_| AnnouncedError::Length { algorithm, expected: N, given: bytes.len() };
    let digest = bytes.try_into().map_err(wrong_length)?;
    match place.replace(digest) {
        Some(before) if before != digest => Err(AnnouncedError::Contradiction(algorithm)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn of(value: &str) -> Result<Announced, AnnouncedError> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_DIGEST, HeaderValue::from_str(value).unwrap());
        Announced::of(&headers)
    }

    fn hashed(bytes: &[u8]) -> Hasher {
        let mut hasher = Hasher::new(true, true);
        hasher.update(bytes);
        hasher
    }

    #[test]
    fn agrees_with_the_bytes_or_says_which_digest_does_not() {
        let hasher = hashed(b"123456789");
        let announced = of(&hasher.digests().to_header()).unwrap();
        assert_eq!(announced.mismatch(&hasher), None);
        assert!(announced.proves(&hasher.digests()));
        assert_eq!(announced.mismatch(&hashed(b"1234567890")), Some("crc64nvme"));
        let sha512 = format!("sha-512=:{}:", BASE64.encode([0; 64]));
        assert_eq!(of(&sha512).unwrap().mismatch(&hasher), Some("sha-512"));
    }

    #[test]
    fn what_cannot_be_read_is_refused_and_what_is_unknown_passed_over() {
        for bad in [
            "sha-256",
            "sha-256=abc",
            "sha-256=:?:",
            "sha-256=:YWJj:",
            "=:YWJj:",
            "SHA-256=:YWJj:",
            "crc64nvme=:AAAAAAAAAAA=:, crc64nvme=:AAAAAAAAAAE=:",
        ] {
            assert!(of(bad).is_err(), "{bad}");
        }
        assert_eq!(of("md5=:YWJj:").unwrap(), Announced::default());
    }

    #[test]
    fn nothing_announced_proves_nothing() {
        assert!(!Announced::default().proves(&hashed(b"x").digests()));
    }
}
