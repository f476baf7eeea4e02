//! As much XML as there is in the answers of stores that are read here: elements without attributes, around text.

/// What the first element with this name holds.
pub(super) fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(content, _)| content)
}
