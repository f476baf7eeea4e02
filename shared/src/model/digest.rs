//! What the bytes of an object add up to. CRC-64/NVME always (as good as free: 60 GB/s on one core), SHA-256 and SHA-512
//! only when somebody asks (2 GB/s).

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256, Sha512};

use super::text::in_json_as_text;

/// A CRC-64/NVME, the checksum that S3 computes for every object.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Crc64(pub u64);

/// A SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sha256Digest(pub [u8; 32]);

in_json_as_text!(Crc64, Sha256Digest);

/// The digests kept with an object; lower-case hexadecimal in JSON, base64 in headers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Digests {
    /// Always there.
    pub crc64nvme: Crc64,
    /// There when the client sent one, or `storage.sha256` is on.
    pub sha256: Option<Sha256Digest>,
}

impl Digests {
    /// The value of a `Repr-Digest` header (RFC 9530): a dictionary of byte sequences in base64.
    pub fn to_header(&self) -> String {
        let crc = format!("crc64nvme=:{}:", BASE64.encode(self.crc64nvme.0.to_be_bytes()));
        match self.sha256 {
            Some(sha) => format!("sha-256=:{}:, {crc}", BASE64.encode(sha.0)),
            None => crc,
        }
    }
}

/// Adds up bytes as they pass.
pub struct Hasher {
    crc: crc_fast::Digest,
    sha256: Option<Box<Sha256>>,
    sha512: Option<Box<Sha512>>,
}

impl Hasher {
    /// Computes CRC-64/NVME, and what else is asked for.
    pub fn new(sha256: bool, sha512: bool) -> Self {
        Self {
            crc: crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc64Nvme),
            sha256: sha256.then(Box::default),
            sha512: sha512.then(Box::default),
        }
    }

    /// Takes in the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.crc.update(bytes);
        if let Some(sha) = &mut self.sha256 {
            sha.update(bytes);
        }
        if let Some(sha) = &mut self.sha512 {
            sha.update(bytes);
        }
    }

    /// The digests that are kept, of all that was taken in so far.
    pub fn digests(&self) -> Digests {
        Digests {
            crc64nvme: Crc64(self.crc.finalize()),
            sha256: self.sha256.as_ref().map(|sha| Sha256Digest(sha.as_ref().clone().finalize().into())),
        }
    }

    /// The SHA-512, when it was asked for.
    pub fn sha512(&self) -> Option<[u8; 64]> {
        self.sha512.as_ref().map(|sha| sha.as_ref().clone().finalize().into())
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hasher")
            .field("sha256", &self.sha256.is_some())
            .field("sha512", &self.sha512.is_some())
            .finish()
    }
}

impl fmt::Display for Crc64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Crc64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Crc64 {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        if text.len() != 16 {
            return Err(DigestError);
        }
        u64::from_str_radix(text, 16).map(Self).map_err(|_| DigestError)
    }
}

impl fmt::Display for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Sha256Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return Err(DigestError);
        }
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| DigestError)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| DigestError)?;
        }
        Ok(Self(bytes))
    }
}

/// The text is not a digest in hexadecimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a digest in hexadecimal")]
pub struct DigestError;

#[cfg(test)]
mod tests {
    use super::*;

    /// The check value of CRC-64/NVME: <https://reveng.sourceforge.io/crc-catalogue/all.htm>.
    #[test]
    fn agrees_with_the_published_check_value() {
        let mut hasher = Hasher::new(true, true);
        hasher.update(b"1234");
        hasher.update(b"56789");
        let digests = hasher.digests();
        assert_eq!(digests.crc64nvme, Crc64(0xae8b_1486_0a79_9888));
        assert_eq!(
            digests.sha256.unwrap().to_string(),
            "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"
        );
        assert_eq!(
            digests.to_header(),
            "sha-256=:FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=:, crc64nvme=:rosUhgp5mIg=:"
        );
        let json = serde_json::to_string(&digests).unwrap();
        assert_eq!(serde_json::from_str::<Digests>(&json).unwrap(), digests);
    }
}
