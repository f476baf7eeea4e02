//! W3C Trace Context: the `traceparent` that follows an upload from its request to its webhook.
//! <https://www.w3.org/TR/trace-context/>

use std::{fmt, str::FromStr};

use uuid::Uuid;

use super::text::in_json_as_text;

/// A trace, the span that is speaking, and whether the trace is sampled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TraceContext {
    trace: u128,
    span: u64,
    sampled: bool,
}

in_json_as_text!(TraceContext);

impl TraceContext {
    /// The first span of a new trace. All-zero ids mean "none" in the standard, so zeros are replaced.
    pub fn root(trace: u128, span: u64) -> Self {
        Self { trace: trace.max(1), span: span.max(1), sampled: false }
    }

    /// The same trace, told by the span `span`.
    pub fn child(self, span: u64) -> Self {
        Self { span: span.max(1), ..self }
    }

    /// The trace's id, 32 hexadecimal digits.
    pub fn trace_id(self) -> String {
        format!("{:032x}", self.trace)
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The digits are those of `{:032x}`; a number of 128 bits is slow to format, and every upload is told with its trace.
        let trace = Uuid::from_u128(self.trace);
        let flags = if self.sampled { "01" } else { "00" };
        write!(f, "00-{}-{:016x}-{flags}", trace.as_simple(), self.span)
    }
}

impl FromStr for TraceContext {
    type Err = TraceError;

    fn from_str(text: &str) -> Result<Self, TraceError> {
        let lower_hex = |part: &str| part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let mut parts = text.split('-');
        let (Some(version), Some(trace), Some(span), Some(flags)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TraceError);
        };
        let sized = version.len() == 2 && trace.len() == 32 && span.len() == 16 && flags.len() == 2;
        let complete = version != "00" || parts.next().is_none();
        if !sized || !complete || version == "ff" || ![version, trace, span, flags].into_iter().all(lower_hex)
        {
            return Err(TraceError);
        }
        let trace = u128::from_str_radix(trace, 16).map_err(|_| TraceError)?;
        let span = u64::from_str_radix(span, 16).map_err(|_| TraceError)?;
        let flags = u8::from_str_radix(flags, 16).map_err(|_| TraceError)?;
        if trace == 0 || span == 0 {
            Err(TraceError)
        } else {
            Ok(Self { trace, span, sampled: flags & 1 == 1 })
        }
    }
}

/// The text is not a `traceparent`; the standard says to start a new trace then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a traceparent")]
pub struct TraceError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes_and_keeps_the_trace() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let context: TraceContext = text.parse().unwrap();
        assert_eq!(context.to_string(), text);
        assert_eq!(context.child(7).trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
    }

    #[test]
    fn malformed_headers_start_no_trace() {
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
        ] {
            assert_eq!(bad.parse::<TraceContext>(), Err(TraceError), "{bad}");
        }
    }
}
