//! Listing a folder as a bucket, in the order of keys, and no further than asked: `s3s-fs` looks at every object each time.

use std::{fs, io, ops::ControlFlow, path::Path};

use s3s::dto::{ListObjectsV2Input, ListObjectsV2Output, Object};

/// Keys in a page, unless asked otherwise, and at most.
const PAGE: i32 = 1000;

/// Lists what `asked` wants of the folder `bucket`.
pub(super) fn list(bucket: &Path, asked: ListObjectsV2Input) -> io::Result<ListObjectsV2Output> {
    let most = usize::try_from(asked.max_keys.unwrap_or(PAGE).clamp(0, PAGE)).unwrap_or_default();
    let prefix = asked.prefix.unwrap_or_default();
    let after = asked.continuation_token.or(asked.start_after).unwrap_or_default();
    let mut page = Page { prefix: &prefix, after: &after, most, found: Vec::new() };
    let is_truncated = page.walk(bucket, "")?.is_break();
    let last = page.found.last().and_then(|object| object.key.clone());
    Ok(ListObjectsV2Output {
        is_truncated: Some(is_truncated),
        next_continuation_token: last.filter(|_| is_truncated),
        key_count: i32::try_from(page.found.len()).ok(),
        max_keys: i32::try_from(most).ok(),
        name: Some(asked.bucket),
        contents: Some(page.found),
        prefix: Some(prefix),
        ..ListObjectsV2Output::default()
    })
}

struct Page<'a> {
    prefix: &'a str,
    after: &'a str,
    most: usize,
    found: Vec<Object>,
}

impl Page<'_> {
    /// Breaks off when there is one more than wanted.
    fn walk(&mut self, folder: &Path, begin: &str) -> io::Result<ControlFlow<()>> {
        let mut entries = Vec::new();
        let inside = match fs::read_dir(folder) {
            // It went while the one above it was read.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(ControlFlow::Continue(())),
            inside => inside?,
        };
        for entry in inside {
            let entry = entry?;
            let slash = if entry.file_type()?.is_dir() { "/" } else { "" };
            entries.push((format!("{begin}{}{slash}", entry.file_name().to_string_lossy()), entry));
        }
        entries.sort_by(|one, other| one.0.cmp(&other.0));
        for (key, entry) in entries {
            let went_on = if key.ends_with('/') {
                if self.may_have(&key) { self.walk(&entry.path(), &key)? } else { ControlFlow::Continue(()) }
            } else {
                self.add(key, &entry)?
            };
            if went_on.is_break() {
                return Ok(went_on);
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Whether keys that begin like this may be wanted.
    fn may_have(&self, begin: &str) -> bool {
        let on_the_way = begin.starts_with(self.prefix) || self.prefix.starts_with(begin);
        on_the_way && (begin > self.after || self.after.starts_with(begin))
    }

    fn add(&mut self, key: String, entry: &fs::DirEntry) -> io::Result<ControlFlow<()>> {
        if !key.starts_with(self.prefix) || key.as_str() <= self.after {
            return Ok(ControlFlow::Continue(()));
        }
        if self.found.len() == self.most {
            return Ok(ControlFlow::Break(()));
        }
        let about = match entry.metadata() {
            // It went while the folder was read.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(ControlFlow::Continue(())),
            about => about?,
        };
        self.found.push(Object {
            key: Some(key),
            size: i64::try_from(about.len()).ok(),
            last_modified: Some(about.modified()?.into()),
            ..Object::default()
        });
        Ok(ControlFlow::Continue(()))
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Result;

    use super::*;

    fn keys(bucket: &Path, prefix: &str, after: &str, most: i32) -> Result<(Vec<String>, bool)> {
        let asked = ListObjectsV2Input {
            prefix: Some(prefix.to_owned()),
            start_after: Some(after.to_owned()),
            max_keys: Some(most),
            ..ListObjectsV2Input::default()
        };
        let page = list(bucket, asked)?;
        let keys = page.contents.unwrap_or_default().into_iter().filter_map(|object| object.key);
        Ok((keys.collect(), page.is_truncated == Some(true)))
    }

    #[test]
    fn pages_come_in_the_order_of_keys_and_end() -> Result<()> {
        let bucket = tempfile::tempdir()?;
        // A folder's keys stand behind those of a file whose name goes on with less than a slash.
        let all = ["a-b", "a/b/c", "a/b/d", "a0", "b/a"];
        for key in all {
            let path = bucket.path().join(key);
            fs::create_dir_all(path.parent().unwrap_or(bucket.path()))?;
            fs::write(path, key)?;
        }
        assert_eq!(keys(bucket.path(), "", "", 9)?, (all.map(str::to_owned).to_vec(), false));
        assert_eq!(keys(bucket.path(), "", "a-b", 2)?, (vec!["a/b/c".to_owned(), "a/b/d".to_owned()], true));
        assert_eq!(keys(bucket.path(), "a/", "a/b/c", 1)?, (vec!["a/b/d".to_owned()], false));
        assert_eq!(keys(bucket.path(), "", "b/a", 9)?, (vec![], false));
        Ok(())
    }
}
