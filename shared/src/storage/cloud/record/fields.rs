//! Fields of a record: a number, a length (LEB128), and so many bytes.

use super::Damaged;
use crate::model::TraceContext;

/// Appends a field.
pub(super) fn push(bytes: &mut Vec<u8>, number: u8, content: &[u8]) {
    bytes.push(number);
    let mut length = content.len();
    while length > 0x7f {
        bytes.push(u8::try_from(length & 0x7f).unwrap_or_default() | 0x80);
        length >>= 7;
    }
    bytes.push(u8::try_from(length).unwrap_or_default());
    bytes.extend_from_slice(content);
}

/// The fields of a record, in the order they were written.
pub(super) struct Fields<'a>(Vec<(u8, &'a [u8])>);

impl<'a> Fields<'a> {
    pub(super) fn read(mut bytes: &'a [u8]) -> Result<Self, Damaged> {
        let mut fields = Vec::with_capacity(16);
        while let Some((number, rest)) = bytes.split_first() {
            let (length, rest) = length(rest)?;
            let (content, rest) = rest.split_at_checked(length).ok_or(Damaged("length"))?;
            fields.push((*number, content));
            bytes = rest;
        }
        Ok(Self(fields))
    }

    pub(super) fn get(&self, number: u8) -> Option<&'a [u8]> {
        self.0.iter().find(|(one, _)| *one == number).map(|(_, content)| *content)
    }

    pub(super) fn text(&self, number: u8) -> Result<Option<&'a str>, Damaged> {
        self.get(number).map(|content| std::str::from_utf8(content).map_err(|_| Damaged("text"))).transpose()
    }

    pub(super) fn array<const N: usize>(&self, number: u8) -> Result<Option<[u8; N]>, Damaged> {
        self.get(number).map(|content| content.try_into().map_err(|_| Damaged("size of a field"))).transpose()
    }
}

fn length(bytes: &[u8]) -> Result<(usize, &[u8]), Damaged> {
    let mut length = 0;
    for (at, byte) in bytes.iter().enumerate().take(4) {
        length |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Ok((length, bytes.get(at + 1..).unwrap_or_default()));
        }
    }
    Err(Damaged("length"))
}

/// A trace's id, a span's id, and the flags.
pub(super) const TRACE_BYTES: usize = 16 + 8 + 1;

/// A trace as the bytes that its text spells; the text's own version is left out.
pub(super) fn pack_trace(trace: TraceContext) -> [u8; TRACE_BYTES] {
    let text = trace.to_string();
    let digits: String = text.split('-').skip(1).collect();
    let mut packed = [0; TRACE_BYTES];
    for (byte, pair) in packed.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).unwrap_or_default();
        *byte = u8::from_str_radix(pair, 16).unwrap_or_default();
    }
    packed
}

pub(super) fn unpack_trace(packed: &[u8; TRACE_BYTES]) -> Option<TraceContext> {
    let (ids, flags) = packed.split_last_chunk::<1>()?;
    let (trace, span) = ids.split_last_chunk::<8>()?;
    let trace = u128::from_be_bytes(trace.try_into().ok()?);
    let span = u64::from_be_bytes(*span);
    format!("00-{trace:032x}-{span:016x}-{:02x}", flags[0]).parse().ok()
}
