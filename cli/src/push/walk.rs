//! Finds the files that are to be sent: folder by folder, sorted, as fast as they are taken.
//!
//! One listing for each level of folders is in memory, and a channel's worth of files; never the whole tree. Symbolic links are passed
//! over below a folder and followed where they are named themselves, so that nothing is sent that was not asked for, and no link leads
//! round in circles.

use std::{
    ffi::OsString,
    fs::{self, FileType, Metadata},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    vec,
};

use async_channel::Sender;
use headworks_shared::{
    model::{ObjectPath, Scope},
    report::Report,
};

use super::{
    board::Board,
    key::{Stamp, done},
    manifest::Done,
    operand::{Operand, next_line},
};

/// A file that is to be sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Item {
    pub(super) path: PathBuf,
    pub(super) object: ObjectPath,
    /// As it was found; it may grow until its turn comes, which only the progress cares about.
    pub(super) size: u64,
}

/// What a walk goes by.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    pub(super) board: &'a Board,
    /// What was sent before.
    pub(super) done: &'a Done,
    pub(super) to: &'a str,
    pub(super) scope: &'a Scope,
    /// Everything goes up below this.
    pub(super) prefix: &'a str,
    /// The device and inode of a file that is not to be sent: the manifest.
    pub(super) except: Option<(u64, u64)>,
    pub(super) out: Sender<Item>,
}

/// Nobody takes files any more.
#[derive(Debug)]
pub(super) struct Closed;

/// A folder that is being gone through.
struct Folder {
    path: PathBuf,
    name: String,
    entries: vec::IntoIter<(OsString, FileType)>,
}

impl Walk<'_> {
    /// Goes through everything that was named; `-` stands for a list on standard input.
    pub(super) fn all(&self, paths: &[PathBuf]) -> Result<(), Closed> {
        for path in paths {
            if path.as_os_str() == "-" {
                self.list()?;
            } else {
                self.operand(&Operand::argument(path))?;
            }
        }
        Ok(())
    }

    fn list(&self) -> Result<(), Closed> {
        let mut list = io::stdin().lock();
        loop {
            match next_line(&mut list) {
                Ok(Some(operand)) => self.operand(&operand)?,
                Ok(None) => return Ok(()),
                Err(error) => {
                    self.board.failed("the list on standard input", &Report(&error).to_string());
                    return Ok(());
                }
            }
        }
    }

    fn operand(&self, Operand { path, name }: &Operand) -> Result<(), Closed> {
        let Some(name) = name else { return self.not_text(path) };
        let name = below(self.prefix, name);
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => self.folder(path, name),
            Ok(metadata) if metadata.is_file() => self.file(path, &name, &metadata),
            Ok(_) => self.failed(path, "neither a file nor a folder"),
            Err(error) => self.failed(path, &Report(&error).to_string()),
        }
    }

    fn folder(&self, path: &Path, name: String) -> Result<(), Closed> {
        let mut stack: Vec<Folder> = self.list_of(path, name).into_iter().collect();
        while let Some(folder) = stack.last_mut() {
            let Some((entry, kind)) = folder.entries.next() else {
                stack.pop();
                continue;
            };
            let path = folder.path.join(&entry);
            let Some(name) = entry.to_str().map(|entry| below(&folder.name, entry)) else {
                self.not_text(&path)?;
                continue;
            };
            if kind.is_dir() {
                stack.extend(self.list_of(&path, name));
            } else if kind.is_file() {
                match fs::symlink_metadata(&path) {
                    Ok(metadata) => self.file(&path, &name, &metadata)?,
                    Err(error) => self.failed(&path, &Report(&error).to_string())?,
                }
            } else {
                self.pass_over(&path, kind);
            }
        }
        Ok(())
    }

    /// A folder with its entries in the order of their names.
    fn list_of(&self, path: &Path, name: String) -> Option<Folder> {
        let entry =
            |entry: io::Result<fs::DirEntry>| entry.and_then(|one| Ok((one.file_name(), one.file_type()?)));
        match fs::read_dir(path).and_then(|entries| entries.map(entry).collect::<io::Result<Vec<_>>>()) {
            Ok(mut entries) => {
                entries.sort_unstable_by(|one, other| one.0.cmp(&other.0));
                Some(Folder { path: path.to_owned(), name, entries: entries.into_iter() })
            }
            Err(error) => {
                self.board.failed(&path.display().to_string(), &Report(&error).to_string());
                None
            }
        }
    }

    fn file(&self, path: &Path, name: &str, metadata: &Metadata) -> Result<(), Closed> {
        if self.except == Some((metadata.dev(), metadata.ino())) {
            self.board.passed_over(&path.display().to_string(), "it is this run's manifest");
            return Ok(());
        }
        let object: ObjectPath = match name.parse() {
            Ok(object) => object,
            Err(rule) => return self.failed(path, &Report(&rule).to_string()),
        };
        let stamp = Stamp::of(metadata);
        if self.done.contains(&done(self.to, self.scope, &object, stamp)) {
            self.board.before();
            return Ok(());
        }
        self.board.found(stamp.size);
        let item = Item { path: path.to_owned(), object, size: stamp.size };
        self.out.send_blocking(item).map_err(|_| Closed)
    }

    fn pass_over(&self, path: &Path, kind: FileType) {
        let why = if kind.is_symlink() {
            "a symbolic link, which is not followed"
        } else {
            "neither a file nor a folder"
        };
        self.board.passed_over(&path.display().to_string(), why);
    }

    fn not_text(&self, path: &Path) -> Result<(), Closed> {
        self.failed(path, "the name is not UTF-8, so the server would refuse it")
    }

    fn failed(&self, path: &Path, why: &str) -> Result<(), Closed> {
        self.board.failed(&path.display().to_string(), why);
        if self.out.is_closed() { Err(Closed) } else { Ok(()) }
    }
}

/// A name below another one, which may be empty.
fn below(folder: &str, name: &str) -> String {
    match (folder, name) {
        ("", name) => name.to_owned(),
        (folder, "") => folder.to_owned(),
        (folder, name) => format!("{folder}/{name}"),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::{ffi::OsStringExt as _, fs::symlink};

    use super::*;

    /// What a walk of these paths finds, by object path; and how much failed and was passed over.
    fn walk(paths: &[PathBuf], done: &Done, prefix: &str, except: Option<&Path>) -> (Vec<String>, u64, u64) {
        let (board, (out, found)) = (Board::new(false), async_channel::bounded(99));
        let except = except.map(|path| fs::metadata(path).unwrap()).map(|file| (file.dev(), file.ino()));
        let (to, scope) = ("http://a", &Scope::default());
        Walk { board: &board, done, to, scope, prefix, except, out }.all(paths).unwrap();
        let summary = board.summary(false);
        let mut names = Vec::new();
        while let Ok(item) = found.try_recv() {
            names.push(item.object.to_string());
        }
        (names, summary.failed, summary.passed_over)
    }

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        folder
    }

    #[test]
    fn a_folder_goes_up_sorted_under_its_own_name() {
        let tree = tree(&["photos/b/2", "photos/b/1 x", "photos/a", "photos/c/d/é", "photos/.hidden"]);
        let photos = tree.path().join("photos");
        let found = ["photos/.hidden", "photos/a", "photos/b/1 x", "photos/b/2", "photos/c/d/é"];
        assert_eq!(walk(std::slice::from_ref(&photos), &Done::new(), "", None).0, found);
        let file = photos.join("b/2");
        assert_eq!(walk(&[file], &Done::new(), "x/y", None).0, ["x/y/2"]);
        assert_eq!(walk(&[photos.join("c/..")], &Done::new(), "", None).0.len(), 5);
    }

    #[test]
    fn links_are_passed_over_and_what_cannot_be_named_or_read_fails() {
        let tree = tree(&["f/a", "f/line\nbreak"]);
        let folder = tree.path().join("f");
        symlink("/etc", folder.join("etc")).unwrap();
        symlink(".", folder.join("round")).unwrap();
        fs::write(folder.join(OsString::from_vec(vec![0xff])), "x").unwrap();
        let missing = tree.path().join("missing");
        let (found, failed, passed_over) = walk(&[folder.clone(), missing], &Done::new(), "", None);
        assert_eq!((found, failed, passed_over), (vec!["f/a".to_owned()], 3, 2));
        let named = walk(&[folder.join("round")], &Done::new(), "", None).0;
        assert_eq!(named, ["round/a"], "a link that is named itself is followed");
    }

    #[test]
    fn what_was_done_and_the_manifest_itself_are_left_out() {
        let tree = tree(&["f/a", "f/b", "f/m.jsonl"]);
        let folder = tree.path().join("f");
        let stamp = Stamp::of(&fs::metadata(folder.join("a")).unwrap());
        let before = Done::from([done("http://a", &Scope::default(), &"f/a".parse().unwrap(), stamp)]);
        let manifest = folder.join("m.jsonl");
        assert_eq!(
            walk(std::slice::from_ref(&folder), &before, "", Some(&manifest)),
            (vec!["f/b".to_owned()], 0, 1)
        );
        fs::write(folder.join("a"), "another size").unwrap();
        assert_eq!(walk(&[folder], &before, "", Some(&manifest)).0, ["f/a", "f/b"]);
    }

    #[test]
    fn nobody_walks_on_when_nobody_takes() {
        let tree = tree(&["f/a", "f/b"]);
        let (board, (out, found)) = (Board::new(false), async_channel::bounded(1));
        drop(found);
        let (done, scope) = (&Done::new(), &Scope::default());
        let walk = Walk { board: &board, done, to: "http://a", scope, prefix: "", except: None, out };
        assert!(walk.all(&[tree.path().join("f")]).is_err());
    }
}
