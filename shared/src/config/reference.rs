//! The reference of all settings: the compiled-in defaults, and the page made from their comments.

use std::fmt::Write as _;

/// `config/default.toml`, every key with its comment.
pub const DEFAULTS: &str = include_str!("../../../config/default.toml");

/// The page `docs/configuration.md`: a table for each section, from the comments of [`DEFAULTS`].
pub fn to_markdown() -> String {
    let mut page = String::from(
        "# Settings\n\nGenerated from `config/default.toml` by `headworks config reference --markdown`; `make docs` writes it anew.\n\n",
    );
    let mut comment: Vec<&str> = Vec::new();
    let mut section = None;
    for line in DEFAULTS.lines() {
        if let Some(text) = line.strip_prefix('#') {
            comment.push(text.trim());
        } else if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = Some(name);
            let _written = writeln!(page, "\n## {name}\n\n| key | default | what it is |\n|---|---|---|");
            comment.clear();
        } else if let (Some(section), Some((key, default))) = (section, line.split_once(" = ")) {
            let text = comment.join(" ").replace('|', "\\|");
            let _written = writeln!(page, "| `{section}.{key}` | `{default}` | {text} |");
            comment.clear();
        } else if section.is_none() && line.is_empty() && !comment.is_empty() {
            let _written = writeln!(page, "{}\n", comment.join(" "));
            comment.clear();
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_its_comment() {
        let page = to_markdown();
        let bare: Vec<&str> =
            page.lines().filter(|line| line.starts_with("| `") && line.ends_with("|  |")).collect();
        assert!(bare.is_empty(), "{bare:#?}");
        assert!(page.contains("| `queue.capacity` | `10000` | The most jobs"));
    }
}
