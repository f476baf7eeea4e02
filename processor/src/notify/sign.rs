//! Signs deliveries: Standard Webhooks, symmetric, version 1: `v1,base64(HMAC-SHA256(secret, "{id}.{timestamp}.{body}"))`.
//! <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md#signature-scheme>

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use headworks_shared::model::Timestamp;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// The shortest key, in bytes; the spec asks for 24 to 64.
const MIN_KEY_BYTES: usize = 24;
/// The longest key, in bytes.
const MAX_KEY_BYTES: usize = 64;

/// A receiver's key. Never printed.
#[derive(Clone)]
pub(crate) struct Secret(Hmac<Sha256>);

impl Secret {
    /// Reads `whsec_` and the key in base64.
    ///
    /// # Errors
    /// When it is something else, or the key is not of 24 to 64 bytes.
    pub(super) fn parse(text: &str) -> Result<Self, SecretError> {
        let encoded = text.strip_prefix("whsec_").ok_or(SecretError::Prefix)?;
        let key = BASE64.decode(encoded).map_err(|_| SecretError::Base64)?;
        if !(MIN_KEY_BYTES..=MAX_KEY_BYTES).contains(&key.len()) {
            return Err(SecretError::Length { bytes: key.len() });
        }
        Hmac::new_from_slice(&key).map(Self).map_err(|_| SecretError::Length { bytes: key.len() })
    }

    /// The value of `webhook-signature`.
    pub(super) fn sign(&self, id: &str, at: Timestamp, body: &[u8]) -> String {
        let mut mac = self.0.clone();
        mac.update(format!("{id}.{}.", at.unix_seconds()).as_bytes());
        mac.update(body);
        format!("v1,{}", BASE64.encode(mac.finalize().into_bytes()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("«secret»")
    }
}

/// A webhook's secret cannot be read; what it is, is not told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Something else.
    #[error("secret must begin with whsec_")]
    Prefix,
    /// The key is not text in base64.
    #[error("secret must be base64 behind whsec_")]
    Base64,
    /// The key is too short to be safe, or too long.
    #[error("secret is a key of {bytes} bytes; it must have 24 to 64")]
    Length {
        /// Its length, decoded.
        bytes: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector of the reference libraries:
    /// <https://github.com/standard-webhooks/standard-webhooks/blob/main/libraries/python/tests/test_webhooks.py>
    #[test]
    fn agrees_with_the_published_vector() {
        let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let at = Timestamp::from_unix_ms(1_614_265_330_000);
        assert_eq!(
            secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", at, br#"{"test": 2432232314}"#),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn weak_or_malformed_secrets_are_refused() {
        for (bad, why) in [
            ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", SecretError::Prefix),
            ("whsec_%%", SecretError::Base64),
            ("whsec_c2hvcnQ=", SecretError::Length { bytes: 5 }),
        ] {
            assert_eq!(Secret::parse(bad).unwrap_err(), why, "{bad}");
        }
    }
}
