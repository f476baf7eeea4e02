//! Whether a browser may show an object or has to save it. What an uploader wrote must not run in our origin, so only media types
//! that cannot carry a script are shown; all else, HTML and SVG first, is saved.

use http::HeaderValue;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Shown in the browser; everything else is saved.
const SHOWN: [&str; 20] = [
    "audio/aac",
    "audio/flac",
    "audio/mp4",
    "audio/mpeg",
    "audio/ogg",
    "audio/wav",
    "audio/webm",
    "audio/x-wav",
    "image/avif",
    "image/bmp",
    "image/gif",
    "image/jpeg",
    "image/png",
    "image/webp",
    "text/plain",
    "video/mp4",
    "video/mpeg",
    "video/ogg",
    "video/quicktime",
    "video/webm",
];

/// All but the `attr-char` of RFC 8187 section 3.2.1.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// The `Content-Disposition` (RFC 6266) for an object of this media type, to be saved under this name.
pub(crate) fn disposition(media_type: &str, file_name: &str) -> HeaderValue {
    let kind = if is_shown(media_type) { "inline" } else { "attachment" };
    let name = utf8_percent_encode(file_name, ENCODED);
    // Encoded, a name is ASCII without control characters; the fallback is the safe half of the rule.
    HeaderValue::try_from(format!("{kind}; filename*=UTF-8''{name}"))
        .unwrap_or(HeaderValue::from_static("attachment"))
}

fn is_shown(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    SHOWN.iter().any(|shown| shown.eq_ignore_ascii_case(essence))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_cannot_run_is_shown() {
        for shown in ["image/png", "IMAGE/JPEG", "text/plain; charset=utf-8", "video/mp4"] {
            assert_eq!(disposition(shown, "x"), "inline; filename*=UTF-8''x", "{shown}");
        }
        for saved in [
            "",
            "text/html",
            "application/pdf",
            "image/svg+xml",
            "application/xhtml+xml",
            "text/xml",
            "text/javascript",
            "application/octet-stream",
            "image/png, text/html",
            "text/html;image/png",
            "image/pngx",
        ] {
            assert_eq!(disposition(saved, "x"), "attachment; filename*=UTF-8''x", "{saved}");
        }
    }

    #[test]
    fn a_name_cannot_break_out_of_its_field() {
        for (name, encoded) in [
            ("café menu.pdf", "caf%C3%A9%20menu.pdf"),
            ("a\"; filename=evil.exe", "a%22%3B%20filename%3Devil.exe"),
            ("100%'*()", "100%25%27%2A%28%29"),
            ("a\\b", "a%5Cb"),
        ] {
            assert_eq!(disposition("image/png", name), format!("inline; filename*=UTF-8''{encoded}"));
        }
    }
}
