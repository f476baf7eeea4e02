//! The query of a listing, read strictly: a parameter that is unknown, doubled or out of range is refused, because a listing that
//! silently ignores `limt=5` misleads. Decoded as HTML forms are, so `+` is a space and `%2B` a plus.

use std::{borrow::Cow, fmt};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64_URL};
use headworks_shared::{
    http::{Code, Problem},
    model::ObjectPath,
};
use percent_encoding::percent_decode;

/// Entries of a page, unless asked otherwise.
const DEFAULT_LIMIT: usize = 100;

/// The largest page; an entry takes about 500 bytes, up to 2 KiB.
const MAX_LIMIT: usize = 1000;

/// Which page of a listing is wanted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Page {
    /// What the paths begin with.
    pub(crate) prefix: String,
    /// The last path of the page before.
    pub(crate) after: Option<ObjectPath>,
    /// 1 to 1,000 entries.
    pub(crate) limit: usize,
}

impl Page {
    /// Reads `prefix`, `cursor` and `limit`.
    ///
    /// # Errors
    /// [`Code::BadQuery`], and which parameter breaks which rule.
    pub(crate) fn parse(query: Option<&str>) -> Result<Self, Problem> {
        let [prefix, cursor, limit] = parameters(query, ["prefix", "cursor", "limit"])?;
        Ok(Self {
            prefix: prefix.unwrap_or_default(),
            after: cursor.as_deref().map(parse_cursor).transpose()?,
            limit: parse_limit(limit.as_deref())?,
        })
    }
}

/// Reads a query that may have nothing but `limit`.
///
/// # Errors
/// [`Code::BadQuery`], and which parameter breaks which rule.
pub(crate) fn limit_only(query: Option<&str>) -> Result<usize, Problem> {
    let [limit] = parameters(query, ["limit"])?;
    parse_limit(limit.as_deref())
}

/// The cursor behind a page that ends with `last`; opaque to clients.
pub(crate) fn cursor_behind(last: &ObjectPath) -> String {
    BASE64_URL.encode(last.as_str())
}

fn parse_cursor(text: &str) -> Result<ObjectPath, Problem> {
    let path = BASE64_URL.decode(text).ok().and_then(|path| String::from_utf8(path).ok());
    path.and_then(|path| path.parse().ok())
        .ok_or_else(|| bad("cursor is a `next_cursor` of an earlier answer, unchanged"))
}

fn parse_limit(text: Option<&str>) -> Result<usize, Problem> {
    match text.map_or(Ok(DEFAULT_LIMIT), str::parse) {
        Ok(limit) if (1..=MAX_LIMIT).contains(&limit) => Ok(limit),
        _ => Err(bad(format_args!("limit is a number from 1 to {MAX_LIMIT}"))),
    }
}

/// The values of the parameters `known`, in their order.
fn parameters<const N: usize>(query: Option<&str>, known: [&str; N]) -> Result<[Option<String>; N], Problem> {
    let mut values = [const { None }; N];
    for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (decode(name)?, decode(value)?);
        let place = known.iter().position(|known| *known == name).and_then(|at| values.get_mut(at));
        let Some(place) = place else {
            return Err(bad(format_args!("the parameters are {}", known.join(", "))));
        };
        if place.replace(value).is_some() {
            return Err(bad(format_args!("{name} is given twice")));
        }
    }
    Ok(values)
}

fn decode(text: &str) -> Result<String, Problem> {
    let spaced = text.replace('+', " ");
    let decoded: Cow<'_, [u8]> = percent_decode(spaced.as_bytes()).into();
    String::from_utf8(decoded.into_owned()).map_err(|_| bad("a parameter is not UTF-8 after decoding"))
}

fn bad(rule: impl fmt::Display) -> Problem {
    Problem::new(Code::BadQuery).detail(rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(prefix: &str, after: Option<&str>, limit: usize) -> Page {
        Page { prefix: prefix.to_owned(), after: after.map(|path| path.parse().unwrap()), limit }
    }

    #[test]
    fn reads_what_is_asked_for() {
        for (query, expected) in [
            (None, page("", None, 100)),
            (Some(""), page("", None, 100)),
            (Some("&&"), page("", None, 100)),
            (Some("prefix="), page("", None, 100)),
            (Some("limit=1"), page("", None, 1)),
            (Some("prefix=a%2Fb+c%2B&limit=1000"), page("a/b c+", None, 1000)),
            (Some("cursor=YS9i"), page("", Some("a/b"), 100)),
        ] {
            let read = Page::parse(query).map_err(|problem| problem.code());
            assert_eq!(read, Ok(expected), "{query:?}");
        }
    }

    #[test]
    fn what_breaks_a_rule_is_refused() {
        for query in [
            "limit=0",
            "limit=1001",
            "limit=",
            "limit=-1",
            "limit=ten",
            "limit=1&limit=2",
            "limt=5",
            "Prefix=a",
            "prefix=%ff",
            "cursor=",
            "cursor=!",
            "cursor=YS9i=",
            "cursor=Ly8",
            "cursor=_w",
        ] {
            let problem = Page::parse(Some(query)).unwrap_err();
            assert_eq!(problem.code(), Code::BadQuery, "{query}");
        }
        assert!(limit_only(Some("cursor=YS9i")).is_err());
    }

    #[test]
    fn a_cursor_leads_back_to_its_path() {
        let path: ObjectPath = "2026/café menu?.pdf".parse().unwrap();
        let query = format!("cursor={}", cursor_behind(&path));
        assert_eq!(Page::parse(Some(&query)).unwrap().after, Some(path));
    }
}
