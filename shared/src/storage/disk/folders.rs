//! Folders that are made once, and synced once for all who wait.
//!
//! A file's name is durable when its folder has been synced after the rename. Uploads that end together share one sync: the first
//! starts it, those who come meanwhile wait for the next one, which begins only after their rename.

use std::{
    collections::{HashMap, HashSet},
    ffi::OsString,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

use tokio::sync::oneshot;

use crate::storage::Cause;

/// How many folders are remembered as made; then it forgets, and looks at the disk again.
const REMEMBERED: usize = 4096;

/// What a waiter is told.
type Verdict = Result<(), Cause>;

/// The folders of one store.
#[derive(Clone, Debug)]
pub(super) struct Folders(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    durable: bool,
    /// By their paths as they are written, because a `Path` is hashed part by part.
    made: RwLock<HashSet<OsString>>,
    making: Mutex<()>,
    waiting: Mutex<HashMap<PathBuf, Vec<oneshot::Sender<Verdict>>>>,
}

impl Folders {
    pub(super) fn new(durable: bool) -> Self {
        let inner =
            Inner { durable, made: RwLock::default(), making: Mutex::default(), waiting: Mutex::default() };
        Self(Arc::new(inner))
    }

    /// Makes `folder` and those above it, down from `root`. When it returns, they are durable, whoever made them.
    pub(super) fn make(&self, root: &Path, folder: &Path) -> io::Result<()> {
        if self.0.knows(folder) {
            return Ok(());
        }
        let _one_at_a_time = lock(&self.0.making);
        if self.0.knows(folder) {
            return Ok(());
        }
        let below = folder.strip_prefix(root).map_err(io::Error::other)?;
        let mut at = root.to_owned();
        for name in below {
            let parent = at.clone();
            at.push(name);
            match fs::create_dir(&at) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
            if self.0.durable {
                File::open(parent)?.sync_all()?;
            }
        }
        let mut made = self.0.made.write().unwrap_or_else(PoisonError::into_inner);
        if made.len() >= REMEMBERED {
            made.clear();
        }
        made.insert(folder.into());
        Ok(())
    }

    /// Looks at the disk again when a folder is next to be made.
    pub(super) fn forget(&self, folder: &Path) {
        self.0.made.write().unwrap_or_else(PoisonError::into_inner).remove(folder.as_os_str());
    }

    /// Syncs a folder, or joins those who wait for its next sync. To be called on a blocking thread, after the rename.
    pub(super) fn sync(&self, folder: &Path) -> Synced {
        if !self.0.durable {
            return Synced(None);
        }
        let (tell, told) = oneshot::channel();
        let mut waiting = lock(&self.0.waiting);
        if let Some(others) = waiting.get_mut(folder) {
            others.push(tell);
            return Synced(Some(told));
        }
        waiting.insert(folder.to_owned(), vec![tell]);
        drop(waiting);
        if self.0.turn(folder) {
            // Those who came meanwhile are not this upload's to wait for.
            let (folders, folder) = (self.clone(), folder.to_owned());
            drop(tokio::task::spawn_blocking(move || while folders.0.turn(&folder) {}));
        }
        Synced(Some(told))
    }
}

impl Inner {
    /// Whether a folder was made before.
    fn knows(&self, folder: &Path) -> bool {
        self.made.read().unwrap_or_else(PoisonError::into_inner).contains(folder.as_os_str())
    }

    /// One sync for all who wait; says whether others have come meanwhile.
    fn turn(&self, folder: &Path) -> bool {
        let turn = lock(&self.waiting).get_mut(folder).map(std::mem::take).unwrap_or_default();
        let verdict: Verdict =
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| Arc::new(error) as Cause);
        for waiter in turn {
            // Who has gone does not want to know.
            drop(waiter.send(verdict.clone()));
        }
        let mut waiting = lock(&self.waiting);
        let more = waiting.get(folder).is_some_and(|turn| !turn.is_empty());
        if !more {
            waiting.remove(folder);
        }
        more
    }
}

/// A sync on its way.
#[must_use = "a name is durable only after its folder's sync"]
pub(super) struct Synced(Option<oneshot::Receiver<Verdict>>);

impl Synced {
    /// There was nothing to sync.
    pub(super) fn nothing() -> Self {
        Self(None)
    }

    /// Waits for it.
    pub(super) async fn wait(self) -> Verdict {
        match self.0 {
            None => Ok(()),
            Some(told) => {
                told.await.unwrap_or_else(|_| Err(Arc::new(io::Error::other("the folder's sync broke down"))))
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
    use tokio::time::{Instant, timeout};

    use super::*;

    #[tokio::test]
    async fn all_who_wait_are_told_and_nobody_is_left_behind() {
        let root = tempfile::tempdir().unwrap();
        let folders = Folders::new(true);
        let folder = root.path().join("a/b");
        folders.make(root.path(), &folder).unwrap();
        let waits: Vec<_> = (0..64)
            .map(|_| {
                let (folders, folder) = (folders.clone(), folder.clone());
                tokio::task::spawn_blocking(move || folders.sync(&folder))
            })
            .collect();
        for wait in waits {
            wait.await.unwrap().wait().await.unwrap();
        }
        let nobody = async {
            while !lock(&folders.0.waiting).is_empty() {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(10), nobody).await.expect("nobody waits");
    }

    #[tokio::test]
    async fn a_failed_sync_fails_all_who_waited_for_it() {
        let folders = Folders::new(true);
        assert!(folders.sync(Path::new("/nonexistent/folder")).wait().await.is_err());
    }

    #[tokio::test]
    async fn who_leads_waits_for_no_sync_but_its_own() {
        // A pipe stands for a slow folder: it opens only when somebody writes to it.
        let root = tempfile::tempdir().unwrap();
        let slow = root.path().join("slow");
        mknodat(CWD, &slow, FileType::Fifo, Mode::from(0o600), 0).unwrap();
        let folders = Folders::new(true);
        let (leader, folder) = (folders.clone(), slow.clone());
        let leads = tokio::task::spawn_blocking(move || leader.sync(&folder));
        let deadline = Instant::now() + Duration::from_secs(10);
        while lock(&folders.0.waiting).get(&slow).is_none_or(|waiting| !waiting.is_empty()) {
            assert!(Instant::now() < deadline, "it does not begin");
            tokio::task::yield_now().await;
        }
        let comes_late = folders.sync(&slow);
        // Opens it once, for the sync that waits, and not for the next one.
        while rustix::fs::open(&slow, OFlags::WRONLY | OFlags::NONBLOCK, Mode::empty()).is_err() {
            assert!(Instant::now() < deadline, "nobody syncs it");
            tokio::task::yield_now().await;
        }
        let led = timeout(Duration::from_secs(10), leads).await;
        // Now it opens at once, so that nobody is left behind, however this ends.
        let _open = File::options().read(true).write(true).open(&slow).unwrap();
        assert!(led.is_ok(), "it leads on");
        assert!(timeout(Duration::from_secs(10), comes_late.wait()).await.is_ok());
    }
}
