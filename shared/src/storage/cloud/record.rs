//! The envelope beside the bytes: one value of user metadata, and the media type as the object's own.
//!
//! S3 allows 2 KiB of user metadata in ASCII, and a path is any UTF-8 of up to 1,024 bytes. So the value is a compact binary record in
//! base64: the largest envelope that comes in at the door takes 1,980 bytes of it. The scope is left out where the key says it, and the
//! media type is the object's `Content-Type`. The seal is there when it was known before the first byte went out.

mod fields;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use object_store::{Attribute, AttributeValue, Attributes};

use self::fields::{Fields, push};
use crate::{
    model::{Crc64, Digests, Envelope, Priority, Scope, Seal, Sha256Digest, TraceContext},
    storage::Key,
};

/// The metadata's name; in headers `x-amz-meta-headworks`.
const NAME: &str = "headworks";

/// The longest value: S3 counts 2,048 bytes for the value and its whole name.
const MAX_BYTES: usize = 2048 - "x-amz-meta-".len() - NAME.len();

/// The record's version, its first byte. Readers pass over fields that they do not know, so a new field is no new version.
const V1: u8 = 1;

/// What a field says. Numbers are never given a second meaning.
mod field {
    pub(super) const ATTEMPT: u8 = 1;
    pub(super) const PATH: u8 = 2;
    pub(super) const ORG: u8 = 3;
    pub(super) const PROJECT: u8 = 4;
    pub(super) const CONTENT_TYPE_BESIDE: u8 = 5;
    pub(super) const PRIORITY: u8 = 6;
    pub(super) const ONLY_IF_ABSENT: u8 = 7;
    pub(super) const MARKER: u8 = 8;
    pub(super) const REQUEST_ID: u8 = 9;
    pub(super) const TRACE: u8 = 10;
    pub(super) const SIZE: u8 = 11;
    pub(super) const CRC64NVME: u8 = 12;
    pub(super) const SHA256: u8 = 13;
    pub(super) const SNIFFED_TYPE: u8 = 14;
    pub(super) const CONTENT_TYPE: u8 = 15;
}

/// What is kept beside an object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Record {
    /// Names the put that made the object, so that it knows its own when an answer was lost.
    pub(super) attempt: u64,
    /// `None` for a marker.
    pub(super) envelope: Option<Envelope>,
    /// `None` where the bytes were not known yet.
    pub(super) seal: Option<Seal>,
}

impl Record {
    /// The record of a put that begins now.
    pub(super) fn new(envelope: Option<&Envelope>, seal: Option<&Seal>) -> Self {
        Self { attempt: fastrand::u64(..), envelope: envelope.cloned(), seal: seal.cloned() }
    }

    /// The attributes to put the object with.
    ///
    /// # Errors
    /// When the envelope is larger than any that comes in at the door.
    pub(super) fn to_attributes(&self, key: &Key) -> Result<Attributes, TooLong> {
        let mut attributes = Attributes::with_capacity(2);
        let mut bytes = vec![V1];
        push(&mut bytes, field::ATTEMPT, &self.attempt.to_be_bytes());
        if let Some(envelope) = &self.envelope {
            push_envelope(&mut bytes, envelope, key);
            if let Some(kind) = &envelope.content_type {
                if travels_as_header(kind) {
                    push(&mut bytes, field::CONTENT_TYPE_BESIDE, &[]);
                    attributes.insert(Attribute::ContentType, kind.clone().into());
                } else {
                    push(&mut bytes, field::CONTENT_TYPE, kind.as_bytes());
                }
            }
        }
        if let Some(seal) = &self.seal {
            push_seal(&mut bytes, seal);
        }
        let value = BASE64.encode(bytes);
        if value.len() > MAX_BYTES {
            return Err(TooLong { bytes: value.len() });
        }
        attributes.insert(Attribute::Metadata(NAME.into()), value.into());
        Ok(attributes)
    }

    /// What the attributes of the object `key` say; `None` when it was not put by Headworks.
    ///
    /// # Errors
    /// When they cannot be understood.
    pub(super) fn of(attributes: &Attributes, key: &Key) -> Result<Option<Self>, Damaged> {
        let Some(value) = attributes.get(&Attribute::Metadata(NAME.into())) else { return Ok(None) };
        let bytes = BASE64.decode(value.as_ref()).map_err(|_| Damaged("base64"))?;
        let beside = attributes.get(&Attribute::ContentType).map(AttributeValue::as_ref);
        let Some((&V1, fields)) = bytes.split_first() else { return Err(Damaged("version")) };
        let fields = Fields::read(fields)?;
        Ok(Some(Self {
            attempt: u64::from_be_bytes(fields.array(field::ATTEMPT)?.ok_or(Damaged("attempt"))?),
            envelope: envelope(&fields, key, beside)?,
            seal: seal(&fields)?,
        }))
    }
}

/// Whether a header gives the text back as it is: servers trim values, and fold blanks before they check a signature.
fn travels_as_header(text: &str) -> bool {
    let visible = text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    visible && !text.is_empty() && text.trim() == text && !text.contains("  ")
}

fn push_envelope(bytes: &mut Vec<u8>, envelope: &Envelope, key: &Key) {
    let Envelope { scope, path, content_type: _, priority, only_if_absent, marker, request_id, trace } =
        envelope;
    push(bytes, field::PATH, path.as_str().as_bytes());
    if key.upload().is_none_or(|(said, _)| said != *scope) {
        push(bytes, field::ORG, scope.org().as_bytes());
        push(bytes, field::PROJECT, scope.project().as_bytes());
    }
    match priority {
        Priority::High => push(bytes, field::PRIORITY, &[0]),
        Priority::Normal => {}
        Priority::Low => push(bytes, field::PRIORITY, &[2]),
    }
    if *only_if_absent {
        push(bytes, field::ONLY_IF_ABSENT, &[]);
    }
    if let Some(marker) = marker {
        push(bytes, field::MARKER, marker.as_bytes());
    }
    if let Some(id) = request_id {
        push(bytes, field::REQUEST_ID, id.as_bytes());
    }
    if let Some(trace) = trace {
        push(bytes, field::TRACE, &fields::pack_trace(*trace));
    }
}

fn push_seal(bytes: &mut Vec<u8>, seal: &Seal) {
    let Seal { size, digests: Digests { crc64nvme, sha256 }, sniffed_type } = seal;
    push(bytes, field::SIZE, &size.to_be_bytes());
    push(bytes, field::CRC64NVME, &crc64nvme.0.to_be_bytes());
    if let Some(sha) = sha256 {
        push(bytes, field::SHA256, &sha.0);
    }
    if let Some(kind) = sniffed_type {
        push(bytes, field::SNIFFED_TYPE, kind.as_bytes());
    }
}

fn envelope(fields: &Fields<'_>, key: &Key, beside: Option<&str>) -> Result<Option<Envelope>, Damaged> {
    let Some(path) = fields.text(field::PATH)? else { return Ok(None) };
    let content_type = match fields.get(field::CONTENT_TYPE_BESIDE) {
        Some(_) => Some(beside.ok_or(Damaged("content type"))?.to_owned()),
        None => fields.text(field::CONTENT_TYPE)?.map(str::to_owned),
    };
    let scope = match (fields.text(field::ORG)?, fields.text(field::PROJECT)?) {
        (Some(org), Some(project)) => Scope::new(org, project).map_err(|_| Damaged("scope"))?,
        _ => key.upload().ok_or(Damaged("scope"))?.0,
    };
    Ok(Some(Envelope {
        scope,
        path: path.parse().map_err(|_| Damaged("path"))?,
        content_type,
        priority: match fields.get(field::PRIORITY) {
            Some([0]) => Priority::High,
            None => Priority::Normal,
            Some([2]) => Priority::Low,
            Some(_) => return Err(Damaged("priority")),
        },
        only_if_absent: fields.get(field::ONLY_IF_ABSENT).is_some(),
        marker: fields.array(field::MARKER)?.map(uuid::Uuid::from_bytes),
        request_id: fields.text(field::REQUEST_ID)?.map(str::to_owned),
        trace: fields.array(field::TRACE)?.map(unpacked).transpose()?,
    }))
}

fn unpacked(packed: [u8; fields::TRACE_BYTES]) -> Result<TraceContext, Damaged> {
    fields::unpack_trace(&packed).ok_or(Damaged("trace"))
}

fn seal(fields: &Fields<'_>) -> Result<Option<Seal>, Damaged> {
    let (Some(size), Some(crc)) = (fields.array(field::SIZE)?, fields.array(field::CRC64NVME)?) else {
        return Ok(None);
    };
    let crc64nvme = Crc64(u64::from_be_bytes(crc));
    let sha256 = fields.array(field::SHA256)?.map(Sha256Digest);
    Ok(Some(Seal {
        size: u64::from_be_bytes(size),
        digests: Digests { crc64nvme, sha256 },
        sniffed_type: fields.text(field::SNIFFED_TYPE)?.map(str::to_owned),
    }))
}

/// An envelope does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an envelope of {bytes} bytes is over {MAX_BYTES}")]
pub(super) struct TooLong {
    bytes: usize,
}

/// A part of a record cannot be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the record's {0} is damaged")]
pub(super) struct Damaged(pub(super) &'static str);

#[cfg(test)]
mod tests;
