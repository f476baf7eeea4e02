//! Lists the objects below a prefix, in the order of their keys, without holding more than one page.

use std::{collections::BinaryHeap, fs, io, path::Path};

use super::attribute::modified;
use crate::storage::{Key, Listed};

/// Up to `limit` objects below `prefix` whose keys sort behind `after`.
pub(super) fn list(root: &Path, prefix: &str, after: &str, limit: usize) -> io::Result<Vec<Listed>> {
    let mut page = Page { after, limit, found: BinaryHeap::new() };
    page.descend(&root.join(prefix), prefix)?;
    let keys = page.found.into_sorted_vec();
    let entry = |name: String| {
        let metadata = fs::metadata(root.join(&name)).ok()?;
        let key = Key::parse(&name).ok()?;
        Some(Listed { key, size: metadata.len(), modified: modified(&metadata) })
    };
    Ok(keys.into_iter().filter_map(entry).collect())
}

/// The `limit` smallest keys behind `after` that were seen so far.
struct Page<'a> {
    after: &'a str,
    limit: usize,
    found: BinaryHeap<String>,
}

impl Page<'_> {
    fn descend(&mut self, folder: &Path, prefix: &str) -> io::Result<()> {
        let entries = match fs::read_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        let mut folders = Vec::new();
        for entry in entries {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(format!("{prefix}{name}/"));
            } else if kind.is_file() {
                self.offer(format!("{prefix}{name}"));
            }
        }
        // With its '/' at the end, a folder sorts among its neighbours as the keys in it do.
        folders.sort_unstable();
        for below in folders {
            if self.wants(&below) {
                let name = below.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
                self.descend(&folder.join(name), &below)?;
            }
        }
        Ok(())
    }

    /// Whether keys with this beginning can be on the page.
    fn wants(&self, prefix: &str) -> bool {
        let passed = prefix < self.after && !self.after.starts_with(prefix);
        let full =
            self.found.len() >= self.limit && self.found.peek().is_some_and(|last| prefix > last.as_str());
        !passed && !full
    }

    fn offer(&mut self, key: String) {
        if key.as_str() <= self.after || Key::parse(&key).is_err() {
            return;
        }
        if self.found.len() < self.limit {
            self.found.push(key);
        } else if self.found.peek().is_some_and(|last| key < *last) {
            self.found.pop();
            self.found.push(key);
        }
    }
}
