//! What a person names: files, folders, and lists of them on standard input.

use std::{
    ffi::OsStr,
    io::{self, BufRead, Read as _},
    os::unix::ffi::OsStrExt as _,
    path::{Component, Path, PathBuf},
};

/// The longest line of a list, in bytes: Linux takes paths of 4 KiB.
const MAX_LINE: u64 = 8 << 10;

/// A path that was named, and the name under which it goes up; the name is empty where only what is in a folder goes up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Operand {
    pub(super) path: PathBuf,
    /// Not text where the path is not.
    pub(super) name: Option<String>,
}

impl Operand {
    /// Named as an argument: goes up under its last name, as `cp -r` would have it; `.`, `..` and `/` are folders without a name.
    pub(super) fn argument(path: &Path) -> Self {
        let name = path.file_name().unwrap_or_default().to_str().map(str::to_owned);
        Self { path: path.to_owned(), name }
    }

    /// Named in a list: goes up under the path as it was written, so that a list that `find` made keeps its folders.
    pub(super) fn listed(line: &[u8]) -> Self {
        let path = PathBuf::from(OsStr::from_bytes(line));
        let parts = path.components().filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_str()),
            // The server refuses it, with the reason.
            Component::ParentDir => Some(Some("..")),
            Component::Prefix(_) | Component::RootDir | Component::CurDir => None,
        });
        let name = parts.collect::<Option<Vec<_>>>().map(|parts| parts.join("/"));
        Self { path, name }
    }
}

/// The next path of a list; `None` at its end. Empty lines are passed over.
///
/// # Errors
/// When the list cannot be read, or a line is too long for a path.
pub(super) fn next_line(list: &mut impl BufRead) -> io::Result<Option<Operand>> {
    let mut line = Vec::new();
    loop {
        line.clear();
        if list.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        if line.len() as u64 == MAX_LINE && !line.ends_with(b"\n") {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a line is too long for a path; one path a line",
            ));
        }
        let path = line.strip_suffix(b"\n").unwrap_or(&line);
        if !path.is_empty() {
            return Ok(Some(Operand::listed(path)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_goes_up_under_its_last_name() {
        for (path, name) in [
            ("photos", "photos"),
            ("./photos/", "photos"),
            ("/home/me/photos/a.jpg", "a.jpg"),
            (".", ""),
            ("/", ""),
            ("..", ""),
        ] {
            assert_eq!(Operand::argument(Path::new(path)).name.as_deref(), Some(name), "{path}");
        }
        let bytes = Path::new(OsStr::from_bytes(b"a/\xff"));
        assert_eq!(Operand::argument(bytes).name, None);
    }

    #[test]
    fn a_list_keeps_its_folders() {
        let mut list = &b"./2026/a.jpg\n\n/abs/b\nc d\n../up\n\xff\nlast"[..];
        let mut names = Vec::new();
        while let Some(operand) = next_line(&mut list).unwrap() {
            names.push(operand.name);
        }
        let text = |name: &str| Some(name.to_owned());
        assert_eq!(
            names,
            [text("2026/a.jpg"), text("abs/b"), text("c d"), text("../up"), None, text("last")]
        );
    }

    #[test]
    fn a_list_that_is_none_is_not_read_whole() {
        let mut endless = io::BufReader::new(io::repeat(b'x'));
        assert!(next_line(&mut endless).is_err());
    }
}
