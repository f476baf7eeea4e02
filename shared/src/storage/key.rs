//! The names of objects in a store, made in this one place.
//!
//! `o/{shard}/{yyyymmdd}/{hh}/{org}/{project}/{upload id}`: sixteen shards spread a store's request rate, the date and hour let
//! the sweep list what is recent, and all of it but the scope follows from the upload's id.
//! `k/{uuid}`: the marker of an idempotency key.

use std::{fmt, sync::Arc};

use uuid::Uuid;

use crate::model::{Scope, Timestamp, UploadId, derived_id};

/// How many shards there are: S3 allows 3,500 puts a second for each prefix.
const SHARDS: u8 = 16;

/// Room for nearly all keys, in bytes.
const ROOM: usize = 128;

/// Names one object in a store; only this module makes them, so no key leaves its store's folder.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

impl Key {
    /// Where the object of an upload is kept.
    pub fn object(scope: &Scope, id: UploadId) -> Self {
        let shard = id.as_bytes()[15] % SHARDS;
        let mut key = prefix_of_hour(shard, id.time());
        for part in [scope.org(), scope.project()] {
            key.push_str(part);
            key.push('/');
        }
        key.push_str(Uuid::from(id).hyphenated().encode_lower(&mut Uuid::encode_buffer()));
        Self(key.into())
    }

    /// Where the marker `id` is kept.
    pub fn marker(id: Uuid) -> Self {
        Self(format!("k/{id}").into())
    }

    /// The marker's id for a client's `Idempotency-Key` in `scope`.
    pub fn marker_id(scope: &Scope, idempotency_key: &str) -> Uuid {
        derived_id(&[scope.org(), scope.project(), idempotency_key])
    }

    /// Reads a key that a store lists.
    ///
    /// # Errors
    /// When Headworks would not have made it.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let key = Self(text.into());
        let ours = match text.split_once('/') {
            Some(("o", _)) => key.upload().is_some_and(|(scope, id)| Self::object(&scope, id) == key),
            Some(("k", id)) => Uuid::parse_str(id).is_ok_and(|id| Self::marker(id) == key),
            _ => false,
        };
        if ours { Ok(key) } else { Err(KeyError) }
    }

    /// The scope and the upload of an object's key; `None` for a marker's.
    pub fn upload(&self) -> Option<(Scope, UploadId)> {
        let mut parts = self.0.split('/');
        if parts.next() != Some("o") {
            return None;
        }
        let mut parts = parts.skip(3);
        let scope = Scope::new(parts.next()?, parts.next()?).ok()?;
        Some((scope, parts.next()?.parse().ok()?))
    }

    /// The key as text, with `/` between its parts.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The beginning of keys, ending with `/`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Prefix(Arc<str>);

impl Prefix {
    /// All objects of one hour, shard by shard: sixteen prefixes.
    pub fn objects_of_hour(at: Timestamp) -> impl Iterator<Item = Self> {
        (0..SHARDS).map(move |shard| Self(prefix_of_hour(shard, at).into()))
    }

    /// All objects.
    pub fn objects() -> Self {
        Self("o/".into())
    }

    /// All markers.
    pub fn markers() -> Self {
        Self("k/".into())
    }

    /// The prefix as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How the keys of a shard's hour begin, with room for the rest. Made for every upload, so it is put together by hand.
fn prefix_of_hour(shard: u8, at: Timestamp) -> String {
    let mut prefix = String::with_capacity(ROOM);
    prefix.push_str("o/");
    prefix.extend(char::from_digit(shard.into(), 16));
    prefix.push('/');
    at.push_day_and_hour(&mut prefix);
    prefix.push('/');
    prefix
}

/// The key is none of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a key of Headworks")]
pub struct KeyError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_objects_key_follows_from_its_scope_and_id() {
        let scope = Scope::new("acme", "web").unwrap();
        let id: UploadId = "0198f3c2-7b1e-7c33-9d51-2f6c1f0c6a13".parse().unwrap();
        let key = Key::object(&scope, id);
        assert_eq!(key.as_str(), "o/3/20250829/02/acme/web/0198f3c2-7b1e-7c33-9d51-2f6c1f0c6a13");
        assert_eq!(key.upload(), Some((scope, id)));
        assert_eq!(Key::parse(key.as_str()), Ok(key.clone()));
        assert!(Prefix::objects_of_hour(id.time()).any(|prefix| key.as_str().starts_with(prefix.as_str())));
    }

    #[test]
    fn strangers_in_the_store_are_not_taken_for_objects() {
        for stranger in [
            "",
            "o/",
            "o/3/20250829/02/acme/web/readme.txt",
            "o/4/20250829/03/acme/web/0198f3c2-7b1e-7c33-9d51-2f6c1f0c6a13",
            "k/x",
            "../k",
        ] {
            assert_eq!(Key::parse(stranger), Err(KeyError), "{stranger}");
        }
    }
}
