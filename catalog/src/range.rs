//! Which bytes a `Range` field asks for: RFC 9110 section 14. One range is honoured; several are answered with the whole, as
//! the RFC allows, because nobody who downloads files asks for them and they have been a way to exhaust servers.

use std::ops::Range;

/// What to send of an object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Selection {
    /// All of it: nothing else was asked for, or not in a way that we follow.
    Whole,
    /// These bytes; never none.
    Part(Range<u64>),
    /// Nothing: what was asked for lies outside of the object.
    Unsatisfiable,
}

/// Reads a `Range` field for an object of `size` bytes.
pub(crate) fn select(field: &str, size: u64) -> Selection {
    let Some((first, last)) = bounds(field) else { return Selection::Whole };
    match (first, last) {
        (Some(first), Some(last)) if last < first => Selection::Whole,
        (Some(first), _) if first >= size => Selection::Unsatisfiable,
        (Some(first), last) => {
            Selection::Part(first..last.map_or(size, |last| last.saturating_add(1).min(size)))
        }
        (None, Some(0)) => Selection::Unsatisfiable,
        // Satisfiable as the RFC defines it, but no Content-Range can say "no byte at all".
        (None, Some(_)) if size == 0 => Selection::Whole,
        (None, Some(length)) => Selection::Part(size.saturating_sub(length)..size),
        (None, None) => Selection::Whole,
    }
}

/// `bytes=FIRST-LAST`, of which one may be missing.
fn bounds(field: &str) -> Option<(Option<u64>, Option<u64>)> {
    let (unit, set) = field.split_once('=')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = set.trim_matches([' ', '\t']).split_once('-')?;
    Some((position(first)?, position(last)?))
}

/// Digits, or nothing; a number too large for 64 bits lies behind every object's end.
fn position(digits: &str) -> Option<Option<u64>> {
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some((!digits.is_empty()).then(|| digits.parse().unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::{Selection::*, *};

    #[test]
    fn one_range_selects_its_bytes() {
        for (field, size, expected) in [
            ("bytes=0-0", 10, Part(0..1)),
            ("bytes=0-9", 10, Part(0..10)),
            ("bytes=2-5", 10, Part(2..6)),
            ("bytes=9-", 10, Part(9..10)),
            ("bytes=0-", 10, Part(0..10)),
            ("bytes=5-99", 10, Part(5..10)),
            ("bytes=5-18446744073709551615", 10, Part(5..10)),
            ("bytes=5-99999999999999999999999", 10, Part(5..10)),
            ("bytes=-1", 10, Part(9..10)),
            ("bytes=-10", 10, Part(0..10)),
            ("bytes=-11", 10, Part(0..10)),
            ("bytes=-99999999999999999999999", 10, Part(0..10)),
            ("BYTES=2-5", 10, Part(2..6)),
            ("bytes= 2-5 ", 10, Part(2..6)),
        ] {
            assert_eq!(select(field, size), expected, "{field} of {size}");
        }
    }

    #[test]
    fn what_lies_outside_is_refused() {
        for (field, size) in [
            ("bytes=10-", 10),
            ("bytes=10-11", 10),
            ("bytes=99999999999999999999999-", 10),
            ("bytes=-0", 10),
            ("bytes=-0", 0),
            ("bytes=0-", 0),
            ("bytes=0-0", 0),
        ] {
            assert_eq!(select(field, size), Unsatisfiable, "{field} of {size}");
        }
    }

    #[test]
    fn what_is_malformed_or_several_ranges_is_ignored() {
        for field in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=5",
            "bytes=5-2",
            "bytes=a-b",
            "bytes=+1-2",
            "bytes=1-2-3",
            "bytes=--1",
            "bytes=0-1,3-4",
            "bytes=0-1,",
            "bytes=1 - 2",
            "bytes =0-1",
            "items=0-1",
        ] {
            assert_eq!(select(field, 10), Whole, "{field}");
        }
        assert_eq!(select("bytes=-5", 0), Whole);
    }
}
