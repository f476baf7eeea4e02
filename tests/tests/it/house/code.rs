//! Rust as far as the rules of the house need it: code without its comments, texts and unit tests, and the paths that it names.

/// The code with blanks for comments, texts and characters. Lines stay where they are.
pub(super) fn bare(text: &str) -> String {
    let mut bare = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let hidden = hidden(rest);
        let length = if hidden == 0 { first.len_utf8() } else { hidden };
        let (taken, behind) = rest.split_at(length);
        if hidden == 0 {
            bare.push_str(taken);
        } else {
            bare.extend(taken.chars().map(|one| if one == '\n' { '\n' } else { ' ' }));
        }
        rest = behind;
    }
    bare
}

/// How many bytes at the beginning are a comment, a text or a character.
fn hidden(rest: &str) -> usize {
    if rest.starts_with("//") {
        rest.find('\n').unwrap_or(rest.len())
    } else if rest.starts_with("/*") {
        comment(rest)
    } else if rest.starts_with('"') {
        1 + closed(rest.get(1..).unwrap_or_default(), '"')
    } else if rest.starts_with('\'') {
        character(rest)
    } else if rest.starts_with('r') {
        raw(rest)
    } else {
        0
    }
}

fn comment(rest: &str) -> usize {
    let mut depth = 0;
    for (at, _) in rest.char_indices() {
        let here = rest.get(at..).unwrap_or_default();
        if here.starts_with("/*") {
            depth += 1;
        } else if here.starts_with("*/") {
            depth -= 1;
            if depth == 0 {
                return at + 2;
            }
        }
    }
    rest.len()
}

/// Up to and with the closing mark, which may be escaped before.
fn closed(rest: &str, mark: char) -> usize {
    let mut escaped = false;
    for (at, one) in rest.char_indices() {
        match one {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if one == mark => return at + one.len_utf8(),
            _ => {}
        }
    }
    rest.len()
}

/// A character, or nothing where it is a lifetime.
fn character(rest: &str) -> usize {
    let inside = rest.get(1..).unwrap_or_default();
    let mut ahead = inside.chars();
    match (ahead.next(), ahead.next()) {
        (Some('\\'), _) | (Some(_), Some('\'')) => 1 + closed(inside, '\''),
        _ => 0,
    }
}

fn raw(rest: &str) -> usize {
    let inside = rest.get(1..).unwrap_or_default();
    let marks = inside.len() - inside.trim_start_matches('#').len();
    let Some(text) = inside.get(marks..).filter(|text| text.starts_with('"')) else { return 0 };
    let end = format!("\"{}", "#".repeat(marks));
    let length = text.get(1..).and_then(|text| text.find(&end)).map_or(text.len(), |at| 1 + at + end.len());
    1 + marks + length
}

/// [`bare`] code without what is there for tests only.
pub(super) fn production(bare: &str) -> String {
    let mut kept = bare.to_owned();
    let mut from = 0;
    while let Some(begin) = kept.get(from..).and_then(|rest| rest.find("#[cfg(")).map(|at| from + at) {
        let attribute =
            kept.get(begin..).and_then(|rest| rest.split(']').next()).unwrap_or_default().to_owned();
        from = begin + attribute.len();
        if attribute.split(|one: char| !one.is_alphanumeric()).any(|word| word == "test") {
            let end = from + item(kept.get(from..).unwrap_or_default());
            let blank = |one: char| if one == '\n' { '\n' } else { ' ' };
            let cut: String = kept.get(begin..end).unwrap_or_default().chars().map(blank).collect();
            kept =
                [kept.get(..begin).unwrap_or_default(), &cut, kept.get(end..).unwrap_or_default()].concat();
            from = begin;
        }
    }
    kept
}

/// The length of an item: up to its semicolon, or its closing brace.
fn item(rest: &str) -> usize {
    let mut depth = 0;
    for (at, one) in rest.char_indices() {
        match one {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 && matches!(one, ';' | '}') {
            return at + 1;
        }
    }
    rest.len()
}

/// Every path that [`bare`] code names, with its line: `use a::{b, c::d}` names `a::b` and `a::c::d`.
pub(super) fn paths(bare: &str) -> Vec<(usize, Vec<String>)> {
    let mut named = Vec::new();
    // What the paths within each open brace begin with: nothing, unless it is the brace of a `use`.
    let mut begins: Vec<Vec<String>> = Vec::new();
    let (mut path, mut begun) = (Vec::new(), 0);
    let mut words = words(bare).into_iter().peekable();
    while let Some((line, word)) = words.next() {
        let followed_by = |words: &mut Words, mark: &str| words.next_if(|(_, next)| next == mark).is_some();
        match word.as_str() {
            "::" if followed_by(&mut words, "{") => begins.push(std::mem::take(&mut path)),
            "::" => continue,
            "{" => begins.push(Vec::new()),
            "}" => drop(begins.pop()),
            _ => {
                if path.len() <= begins.last().map_or(0, Vec::len) {
                    begun = line;
                }
                path.push(word);
                if words.peek().is_some_and(|(_, next)| next == "::") {
                    continue;
                }
                named.push((begun, std::mem::take(&mut path)));
            }
        }
        path = begins.last().cloned().unwrap_or_default();
    }
    named
}

type Words = std::iter::Peekable<std::vec::IntoIter<(usize, String)>>;

/// Names, `::` and braces, with their lines.
fn words(bare: &str) -> Vec<(usize, String)> {
    let mut words: Vec<(usize, String)> = Vec::new();
    for (number, line) in bare.lines().enumerate() {
        let mut rest = line;
        while let Some(first) = rest.chars().next() {
            let name = rest.find(|one: char| !one.is_alphanumeric() && one != '_').unwrap_or(rest.len());
            let length = if name > 0 {
                name
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            let (word, behind) = rest.split_at(length);
            if name > 0 || matches!(word, "::" | "{" | "}") {
                words.push((number + 1, word.to_owned()));
            }
            rest = behind;
        }
    }
    words
}
