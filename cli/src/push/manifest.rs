//! The manifest: a line of JSON for each file that was acknowledged, so that a run that broke off goes on where it was.
//!
//! Lines are appended as the answers come, and are on the disk a second later at the latest. What a crash takes from it costs nothing but
//! time: the file is sent again under the same idempotency key. A last line that was torn by a crash is taken out; anything else that is
//! not a manifest's is left alone, and the run does not begin.

use std::{
    collections::HashSet,
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use headworks_shared::model::{Crc64, ObjectPath, Scope, Status, UploadId};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::mpsc::Receiver,
    task::spawn_blocking,
    time::{Instant, timeout_at},
};
use uuid::Uuid;

use super::key::{Stamp, done};

/// How a line begins; what does not begin so is not ours.
const BEGIN: &[u8] = br#"{"v":1,"#;

/// The version of a line.
pub(super) const VERSION: u8 = 1;

/// The longest time for which a line may be lost by a power cut.
const SYNC_EVERY: Duration = Duration::from_secs(1);

/// The longest line that is read, in bytes; two paths of 4 KiB, all of it escapes, are shorter.
const MAX_LINE: u64 = 64 << 10;

/// How many lines are written at once, at most.
const BATCH: usize = 256;

/// One file that was acknowledged.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Line {
    /// [`VERSION`].
    pub(super) v: u8,
    /// Where it went.
    pub(super) to: String,
    pub(super) scope: Scope,
    /// Its path on the server.
    pub(super) object: ObjectPath,
    /// Its path here, as it was named.
    pub(super) path: String,
    #[serde(flatten)]
    pub(super) stamp: Stamp,
    pub(super) id: UploadId,
    pub(super) crc64nvme: Crc64,
    pub(super) status: Status,
}

/// What was acknowledged before, as [`done`] names it: sixteen bytes for each, however long its path.
pub(super) type Done = HashSet<Uuid>;

/// A manifest that is open, and nobody else's.
#[derive(Debug)]
pub(super) struct Manifest {
    path: PathBuf,
    file: Arc<File>,
    unsynced: bool,
}

impl Manifest {
    /// Opens one, or begins it; and reads what is in it.
    ///
    /// # Errors
    /// When it cannot be read or written, is not a manifest, or another run is at it.
    pub(super) fn open(path: &Path) -> Result<(Self, Done), Error> {
        let failed = |error| Error::Io(path.to_owned(), error);
        let mut options = File::options();
        let file = options.read(true).append(true).create(true).open(path).map_err(failed)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| Error::InUse(path.to_owned()))?;
        let (done, good) = read(&file, path)?;
        if good < file.metadata().map_err(failed)?.len() {
            file.set_len(good).map_err(failed)?;
        }
        Ok((Self { path: path.to_owned(), file: Arc::new(file), unsynced: false }, done))
    }

    /// What tells its file from all others: it is not to be sent itself.
    pub(super) fn identity(&self) -> io::Result<(u64, u64)> {
        self.file.metadata().map(|metadata| (metadata.dev(), metadata.ino()))
    }

    /// Writes lines until there is nobody left who could send one.
    ///
    /// # Errors
    /// When the disk does not take them; the lines behind are thrown away.
    pub(super) async fn keep(mut self, mut lines: Receiver<Line>) -> Result<(), Error> {
        let mut sync_at = Instant::now() + SYNC_EVERY;
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let received = timeout_at(sync_at, lines.recv_many(&mut batch, BATCH)).await;
            let (ended, due) = (received == Ok(0), sync_at <= Instant::now());
            let mut text = Vec::new();
            for line in batch.drain(..) {
                serde_json::to_writer(&mut text, &line).map_err(|error| self.failed(error.into()))?;
                text.push(b'\n');
            }
            self.append(text, due || ended).await?;
            if ended {
                return Ok(());
            }
            if due {
                sync_at = Instant::now() + SYNC_EVERY;
            }
        }
    }

    async fn append(&mut self, text: Vec<u8>, sync: bool) -> Result<(), Error> {
        self.unsynced |= !text.is_empty();
        let sync = sync && self.unsynced;
        if text.is_empty() && !sync {
            return Ok(());
        }
        let file = Arc::clone(&self.file);
        let write = move || {
            (&*file).write_all(&text)?;
            if sync { file.sync_data() } else { Ok(()) }
        };
        let written = spawn_blocking(write).await.unwrap_or_else(|error| Err(io::Error::other(error)));
        self.unsynced &= !sync;
        written.map_err(|error| self.failed(error))
    }

    fn failed(&self, error: io::Error) -> Error {
        Error::Io(self.path.clone(), error)
    }
}

/// Reads all lines; what they say, and where the last whole one ends.
fn read(file: &File, path: &Path) -> Result<(Done, u64), Error> {
    let mut reader = BufReader::new(file);
    let failed = |error| Error::Io(path.to_owned(), error);
    reader.seek(SeekFrom::Start(0)).map_err(failed)?;
    let (mut found, mut good, mut number) = (Done::new(), 0, 0);
    let mut text = Vec::new();
    loop {
        text.clear();
        number += 1;
        let length = reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut text).map_err(failed)? as u64;
        match serde_json::from_slice::<Line>(&text) {
            _ if length == 0 => return Ok((found, good)),
            Ok(line) if line.v == VERSION && text.ends_with(b"\n") => {
                found.insert(done(&line.to, &line.scope, &line.object, line.stamp));
                good += length;
            }
            _ if is_torn(&text) => return Ok((found, good)),
            _ => return Err(Error::Strange { path: path.to_owned(), line: number }),
        }
    }
}

/// Whether this is the beginning of a line of ours; where the machine went down, zeros may be what is left of its end.
fn is_torn(text: &[u8]) -> bool {
    let zeros = text.iter().rev().take_while(|byte| **byte == 0).count();
    let text = text.get(..text.len() - zeros).unwrap_or_default();
    !text.ends_with(b"\n") && (text.starts_with(BEGIN) || BEGIN.starts_with(text))
}

/// A manifest cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The disk, or the rights to it.
    #[error("keep the manifest {}", .0.display())]
    Io(PathBuf, #[source] io::Error),
    /// Two runs would skip different files.
    #[error("{} is in use by another run; give this one its own with --manifest FILE", .0.display())]
    InUse(PathBuf),
    /// It is another file.
    #[error("line {line} of {} is not a manifest's; name another file with --manifest FILE", path.display())]
    Strange {
        /// Its name.
        path: PathBuf,
        /// Counted from 1.
        line: u64,
    },
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    fn line(object: &str) -> Line {
        Line {
            v: VERSION,
            to: "http://127.0.0.1:8080".to_owned(),
            scope: Scope::default(),
            object: object.parse().unwrap(),
            path: format!("./{object}"),
            stamp: Stamp { size: 5, mtime_ns: 1_700_000_000_000_000_001 },
            id: "0198f3c2-7b1e-7c33-9d51-2f6c1f0c6a10".parse().unwrap(),
            crc64nvme: Crc64(7),
            status: Status::Queued,
        }
    }

    fn name(line: &Line) -> Uuid {
        done(&line.to, &line.scope, &line.object, line.stamp)
    }

    async fn keep(path: &Path, objects: &[&str]) -> Done {
        let (manifest, done) = Manifest::open(path).unwrap();
        let (sender, receiver) = mpsc::channel(9);
        for object in objects {
            sender.send(line(object)).await.unwrap();
        }
        drop(sender);
        manifest.keep(receiver).await.unwrap();
        done
    }

    /// Written once; every later version must read it.
    const GOLDEN: &str = r#"{"v":1,"to":"http://127.0.0.1:8080","scope":["default","default"],"object":"a b","path":"./a b","size":5,"mtime_ns":1700000000000000001,"id":"0198f3c2-7b1e-7c33-9d51-2f6c1f0c6a10","crc64nvme":"0000000000000007","status":"queued"}"#;

    #[tokio::test]
    async fn what_was_written_is_known_to_the_next_run() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.jsonl");
        assert_eq!(keep(&path, &["a b"]).await.len(), 0);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{GOLDEN}\n"));
        assert_eq!(keep(&path, &["c"]).await, Done::from([name(&line("a b"))]));
        assert_eq!(keep(&path, &[]).await, Done::from([name(&line("a b")), name(&line("c"))]));
    }

    #[tokio::test]
    async fn a_torn_last_line_is_taken_out_and_the_next_one_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.jsonl");
        let cuts = (0..GOLDEN.len()).step_by(7).chain([GOLDEN.len()]);
        for torn in cuts.map(|cut| GOLDEN.get(..cut).unwrap().to_owned()).chain(["\0\0".to_owned()]) {
            std::fs::write(&path, format!("{GOLDEN}\n{torn}")).unwrap();
            assert_eq!(keep(&path, &["c"]).await.len(), 1, "{torn}");
            assert_eq!(keep(&path, &[]).await, Done::from([name(&line("a b")), name(&line("c"))]));
        }
    }

    #[test]
    fn what_is_no_manifest_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.jsonl");
        let future = GOLDEN.replace("{\"v\":1,", "{\"v\":2,");
        for other in ["my only copy", "my\nonly\ncopy\n", "{}\n", &format!("{future}\n")] {
            std::fs::write(&path, format!("{GOLDEN}\n{other}")).unwrap();
            assert!(matches!(Manifest::open(&path), Err(Error::Strange { line: 2, .. })), "{other}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{GOLDEN}\n{other}"));
        }
    }

    #[test]
    fn two_runs_do_not_share_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.jsonl");
        let first = Manifest::open(&path).unwrap();
        assert!(matches!(Manifest::open(&path), Err(Error::InUse(_))));
        drop(first);
        assert!(Manifest::open(&path).is_ok());
    }
}
