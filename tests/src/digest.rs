//! Digest headers as clients compute them, and content that can be made again from a number.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use sha2::{Digest as _, Sha256, Sha512};

/// The algorithms that Headworks knows, as they stand in headers.
pub const ALGORITHMS: [&str; 3] = ["sha-256", "sha-512", "crc64nvme"];

/// `length` bytes that are the same for the same `seed`, and like no others.
pub fn content(seed: u64, length: usize) -> Bytes {
    let mut bytes = vec![0; length];
    fastrand::Rng::with_seed(seed).fill(&mut bytes);
    bytes.into()
}

/// The value of a `Content-Digest` or `Repr-Digest` for these bytes.
pub fn header(algorithm: &str, bytes: &[u8]) -> String {
    let digest = match algorithm {
        "sha-256" => BASE64.encode(Sha256::digest(bytes)),
        "sha-512" => BASE64.encode(Sha512::digest(bytes)),
        _ => BASE64.encode(crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, bytes).to_be_bytes()),
    };
    format!("{algorithm}=:{digest}:")
}
