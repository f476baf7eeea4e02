//! Names, sizes and rates as people read them; whoever names a file does not get to steer a terminal by it.

use std::{borrow::Cow, time::Duration};

/// Text of others without control characters: they are written as escapes.
pub(super) fn shown(text: &str) -> Cow<'_, str> {
    if !text.chars().any(char::is_control) {
        return Cow::Borrowed(text);
    }
    let escape = |one: char| {
        if one.is_control() { one.escape_default().collect() } else { one.to_string() }
    };
    Cow::Owned(text.chars().map(escape).collect())
}

/// A number of bytes with its unit, in powers of a thousand.
pub(super) fn bytes(number: u64) -> String {
    const UNITS: [(&str, u64); 4] =
        [("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)];
    match UNITS.iter().find(|(_, factor)| number >= *factor) {
        Some((unit, factor)) => {
            let tenths = u128::from(number) * 10 / u128::from(*factor);
            format!("{}.{} {unit}", tenths / 10, tenths % 10)
        }
        None => format!("{number} B"),
    }
}

/// Bytes a second, in MB.
pub(super) fn rate(number: u64, took: Duration) -> String {
    let ms = took.as_millis().max(1);
    // Bytes in a millisecond are kilobytes in a second.
    let tenths = u128::from(number) / ms / 100;
    format!("{}.{} MB/s", tenths / 10, tenths % 10)
}

/// A number of things.
pub(super) fn count(number: u64, one: &str, more: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { more })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_rates_are_rounded_down_to_a_tenth() {
        for (number, text) in [(0, "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (20_971_520, "20.9 MB")] {
            assert_eq!(bytes(number), text);
        }
        assert_eq!(rate(12_345_678, Duration::from_secs(2)), "6.1 MB/s");
        assert_eq!(rate(0, Duration::ZERO), "0.0 MB/s");
    }

    #[test]
    fn a_name_cannot_steer_the_terminal() {
        assert_eq!(shown("a\u{1b}[2Jb\nc"), "a\\u{1b}[2Jb\\nc");
        assert!(matches!(shown("naïve name"), Cow::Borrowed(_)));
    }
}
