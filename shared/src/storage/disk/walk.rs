//! Lists the objects below a prefix, in the order of their keys, without holding more than one page.

use std::{collections::BinaryHeap, fs, io, path::Path};

use super::attribute::modified;
use crate::storage::{Key, Listed};

/// Up to `limit` objects below `prefix` whose keys sort behind `after`; fewer only when there are no more.
pub(super) fn list(root: &Path, prefix: &str, after: &str, limit: usize) -> io::Result<Vec<Listed>> {
    list_with(root, prefix, after, limit, |name| fs::metadata(root.join(name)))
}

/// Entries that vanish before they are looked at are made up for: a short page is the end of a listing.
fn list_with(
    root: &Path,
    prefix: &str,
    after: &str,
    limit: usize,
    look_at: impl Fn(&str) -> io::Result<fs::Metadata>,
) -> io::Result<Vec<Listed>> {
    let (mut listed, mut after) = (Vec::new(), after.to_owned());
    loop {
        let wanted = limit - listed.len();
        let mut page = Page { after: &after, limit: wanted, found: BinaryHeap::new() };
        page.descend(&root.join(prefix), prefix)?;
        let names = page.found.into_sorted_vec();
        for name in &names {
            match (look_at(name), Key::parse(name)) {
                (Ok(metadata), Ok(key)) => {
                    listed.push(Listed { key, size: metadata.len(), modified: modified(&metadata) });
                }
                (Err(error), _) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        match names.into_iter().next_back() {
            Some(last) if listed.len() < limit => after = last,
            _ => return Ok(listed),
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Scope, Timestamp, UploadId},
        storage::Prefix,
    };

    #[test]
    fn what_vanishes_while_it_is_listed_is_made_up_for() {
        let root = tempfile::tempdir().unwrap();
        let mut keys: Vec<Key> = (0..10)
            .map(|n| Key::object(&Scope::default(), UploadId::new(Timestamp::from_unix_ms(n), [0; 10])))
            .collect();
        keys.sort();
        for key in &keys {
            let path = root.path().join(key.as_str());
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        let look_at = |name: &str| {
            if keys[..4].iter().any(|gone| gone.as_str() == name) {
                return Err(io::ErrorKind::NotFound.into());
            }
            fs::metadata(root.path().join(name))
        };
        let page = list_with(root.path(), Prefix::objects().as_str(), "", 4, look_at).unwrap();
        let listed: Vec<_> = page.into_iter().map(|listed| listed.key).collect();
        assert_eq!(listed, keys[4..8]);
    }
}
