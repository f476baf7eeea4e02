//! A moment: milliseconds since 1970 inside, RFC 3339 in UTC outside.

use std::{fmt, str::FromStr, time::Duration};

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::text::in_json_as_text;

/// A moment of wall time, to the millisecond.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

in_json_as_text!(Timestamp);

impl Timestamp {
    /// The moment `ms` milliseconds after 1970-01-01T00:00:00Z.
    pub const fn from_unix_ms(ms: u64) -> Self {
        Self(ms)
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub const fn unix_ms(self) -> u64 {
        self.0
    }

    /// Whole seconds since 1970-01-01T00:00:00Z.
    pub const fn unix_seconds(self) -> u64 {
        self.0 / 1000
    }

    /// This moment, `span` later.
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(millis(span)))
    }

    /// This moment, `span` earlier; never before 1970.
    pub fn before(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(millis(span)))
    }

    /// How long ago `earlier` was, seen from this moment; zero when it is still to come.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// Writes the date and the hour as names in storage have them: `yyyymmdd/hh`.
    pub fn push_day_and_hour(self, text: &mut String) {
        let at = self.calendar();
        let year = u32::try_from(at.year()).unwrap_or(0);
        push_digits(text, year, 4);
        push_digits(text, u8::from(at.month()).into(), 2);
        push_digits(text, at.day().into(), 2);
        text.push('/');
        push_digits(text, at.hour().into(), 2);
    }

    fn calendar(self) -> OffsetDateTime {
        let seconds = i64::try_from(self.0 / 1000).unwrap_or(0);
        let at = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        at + Duration::from_millis(self.0 % 1000)
    }
}

/// Writes the last `width` digits of a number.
fn push_digits(text: &mut String, number: u32, width: u32) {
    text.extend((0..width).rev().filter_map(|place| char::from_digit(number / 10_u32.pow(place) % 10, 10)));
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.calendar().format(&Rfc3339).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, TimestampError> {
        let at = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| TimestampError)?;
        u64::try_from(at.unix_timestamp_nanos() / 1_000_000).map(Self).map_err(|_| TimestampError)
    }
}

/// The text is not a moment after 1970 in RFC 3339.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a time is RFC 3339, as in 2026-11-21T05:12:00Z")]
pub struct TimestampError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        let at = Timestamp::from_unix_ms(1_795_237_920_042);
        assert_eq!(at.to_string().parse(), Ok(at));
        let mut text = String::new();
        at.push_day_and_hour(&mut text);
        assert_eq!(text, "20261121/05");
    }
}
