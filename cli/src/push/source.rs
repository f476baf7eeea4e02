//! A local file on its way out: read a chunk at a time on threads that may block, added up as it passes, and never whole in memory.
//!
//! The last chunk is handed out only when the file is still as it was at the first one: the upload of a file that was written to
//! meanwhile ends in the middle, and the server keeps nothing of it.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use headworks_shared::model::{Crc64, Hasher};
use http_body::{Body, Frame, SizeHint};
use tokio::{
    task::{JoinHandle, spawn_blocking},
    time::Instant,
};

use super::{key::Stamp, meter::Meter, pace::Pace};

/// How much is read at once, in bytes; a stream holds three of them at most: one being read, one waiting, one in the connection.
pub(super) const CHUNK: u64 = 128 << 10;

/// What lies in buffers on the way, in bytes: ours, and the kernel's on both sides. What is sent beyond it was read by somebody.
pub(super) const BUFFERED: u64 = 2 << 20;

/// A file that was opened to be sent.
#[derive(Debug)]
pub(super) struct Opened {
    file: Arc<File>,
    pub(super) stamp: Stamp,
    first: Bytes,
}

impl Opened {
    /// Opens a file and reads its first chunk.
    pub(super) async fn open(path: &Path) -> Result<Self, ReadError> {
        let path: PathBuf = path.to_owned();
        let open = move || {
            let file = File::open(&path).map_err(ReadError::Open)?;
            let stamp = Stamp::of(&file.metadata().map_err(ReadError::Open)?);
            let first = read(&file, stamp, stamp.size)?;
            Ok(Self { file: Arc::new(file), stamp, first })
        };
        spawn_blocking(open).await.map_err(|_| ReadError::Ended)?
    }

    /// The digest of a file that is whole in its first chunk.
    pub(super) fn crc(&self) -> Option<Crc64> {
        (self.first.len() as u64 == self.stamp.size).then(|| {
            let mut hasher = Hasher::new(false, false);
            hasher.update(&self.first);
            hasher.digests().crc64nvme
        })
    }

    /// The body of one try.
    pub(super) fn into_body(self, passing: Arc<Passing>) -> FileBody {
        let Self { file, stamp, first } = self;
        if stamp.size == 0 {
            passing.ended(&Hasher::new(false, false));
        }
        let hasher = Hasher::new(false, false);
        FileBody { file, stamp, left: stamp.size, next: Next::There(first), hasher, passing }
    }
}

/// Reads the next chunk of a file of which `left` bytes are left; with the last one, makes sure that it was not written to.
fn read(mut file: &File, stamp: Stamp, left: u64) -> Result<Bytes, ReadError> {
    let wanted = left.min(CHUNK);
    let mut chunk = Vec::with_capacity(usize::try_from(wanted).unwrap_or_default());
    // There must be nothing behind the end: some file systems have files that say that they are empty, and are not.
    let last = wanted == left;
    let got =
        file.by_ref().take(wanted + u64::from(last)).read_to_end(&mut chunk).map_err(ReadError::Read)?;
    let unchanged = |file: &File| Ok(Stamp::of(&file.metadata().map_err(ReadError::Read)?) == stamp);
    if got as u64 != wanted || (last && !unchanged(file)?) {
        return Err(ReadError::Changed);
    }
    Ok(chunk.into())
}

/// A file cannot be sent as it is. No try changes that.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    /// It is gone, or not ours to read.
    #[error("open the file")]
    Open(#[source] io::Error),
    /// The disk does not give it.
    #[error("read the file")]
    Read(#[source] io::Error),
    /// Somebody writes to it.
    #[error("the file was changed while it was sent; run it again")]
    Changed,
    /// The process is at its end.
    #[error("reading was cut off")]
    Ended,
}

/// What is known of a try while its body is with the connection.
#[derive(Debug)]
pub(super) struct Passing {
    meter: Arc<Meter>,
    pace: Arc<Pace>,
    moved: Mutex<Instant>,
    whole: OnceLock<Crc64>,
    broken: OnceLock<ReadError>,
}

impl Passing {
    /// Nothing has passed yet.
    pub(super) fn new(meter: &Arc<Meter>, pace: &Arc<Pace>) -> Arc<Self> {
        Arc::new(Self {
            meter: Arc::clone(meter),
            pace: Arc::clone(pace),
            moved: Mutex::new(Instant::now()),
            whole: OnceLock::new(),
            broken: OnceLock::new(),
        })
    }

    /// When the connection last took something, or else when the try began.
    pub(super) fn moved(&self) -> Instant {
        *self.moved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The digest of the file, once the connection has taken all of it.
    pub(super) fn whole(&self) -> Option<Crc64> {
        self.whole.get().copied()
    }

    /// Why the body broke off, if it did so on its own.
    pub(super) fn into_broken(self: Arc<Self>) -> Option<ReadError> {
        Arc::into_inner(self).and_then(|passing| passing.broken.into_inner())
    }

    fn took(&self, bytes: u64) {
        *self.moved.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.meter.took(bytes);
        // What is sent again and again gets nobody further.
        if self.meter.is_ahead_by(BUFFERED) {
            self.pace.took();
        }
    }

    fn ended(&self, hasher: &Hasher) {
        self.whole.get_or_init(|| hasher.digests().crc64nvme);
    }
}

/// The body of a request: the file, of known length. The next chunk is read while the connection is at the one before.
#[derive(Debug)]
pub(super) struct FileBody {
    file: Arc<File>,
    stamp: Stamp,
    left: u64,
    next: Next,
    hasher: Hasher,
    passing: Arc<Passing>,
}

/// Where the next chunk is.
#[derive(Debug)]
enum Next {
    There(Bytes),
    Coming(JoinHandle<Result<Bytes, ReadError>>),
    /// There is none: all was handed out, or reading failed.
    Nowhere,
}

impl FileBody {
    fn hand_out(&mut self, chunk: Bytes) -> Bytes {
        let bytes = chunk.len() as u64;
        self.left -= bytes.min(self.left);
        self.hasher.update(&chunk);
        self.passing.took(bytes);
        if self.left == 0 {
            self.passing.ended(&self.hasher);
        } else {
            let (file, stamp, left) = (Arc::clone(&self.file), self.stamp, self.left);
            self.next = Next::Coming(spawn_blocking(move || read(&file, stamp, left)));
        }
        chunk
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let chunk = match &mut self.next {
            Next::There(chunk) => Ok(std::mem::take(chunk)),
            Next::Coming(reading) => ready!(Pin::new(reading).poll(context)).unwrap_or(Err(ReadError::Ended)),
            Next::Nowhere => return Poll::Ready(None),
        };
        self.next = Next::Nowhere;
        Poll::Ready(match chunk {
            Ok(chunk) if chunk.is_empty() => None,
            Ok(chunk) => Some(Ok(Frame::data(self.hand_out(chunk)))),
            Err(error) => {
                self.passing.broken.get_or_init(|| error);
                Some(Err(BrokenOff))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// The file could not be read on; [`Passing`] knows why.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the file broke off")]
pub(super) struct BrokenOff;

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use http_body_util::BodyExt as _;

    use super::*;

    async fn body(path: &Path) -> (FileBody, Arc<Passing>) {
        let passing = Passing::new(&Arc::default(), &Arc::new(Pace::new(1)));
        (Opened::open(path).await.unwrap().into_body(Arc::clone(&passing)), passing)
    }

    #[tokio::test]
    async fn a_file_passes_whole_in_chunks_and_is_added_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        for size in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK + 7] {
            let content: Vec<u8> = (0..size).map(|at| u8::try_from(at % 251).unwrap()).collect();
            std::fs::write(&path, &content).unwrap();
            let (mut body, passing) = body(&path).await;
            let mut seen = Vec::new();
            while let Some(frame) = body.frame().await {
                let data = frame.unwrap().into_data().unwrap();
                assert!(data.len() as u64 <= CHUNK);
                seen.extend_from_slice(&data);
            }
            let mut hasher = Hasher::new(false, false);
            hasher.update(&content);
            assert!(seen == content && body.is_end_stream(), "{size}");
            assert_eq!(passing.whole(), Some(hasher.digests().crc64nvme), "{size}");
            let announced = Opened::open(&path).await.unwrap().crc();
            assert_eq!(announced, (size <= CHUNK).then(|| hasher.digests().crc64nvme), "{size}");
        }
    }

    #[tokio::test]
    async fn a_file_that_is_written_to_breaks_off_before_its_last_chunk() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        for grow in [true, false] {
            std::fs::write(&path, vec![1; usize::try_from(CHUNK).unwrap() * 3]).unwrap();
            let (mut body, passing) = body(&path).await;
            assert!(body.frame().await.unwrap().is_ok());
            let mut file = File::options().append(true).open(&path).unwrap();
            if grow {
                file.write_all(b"more").unwrap()
            } else {
                file.set_len(9).unwrap()
            }
            while let Some(Ok(_)) = body.frame().await {}
            drop(body);
            assert_eq!(passing.whole(), None);
            assert!(matches!(passing.into_broken(), Some(ReadError::Changed)));
        }
    }

    #[tokio::test]
    async fn a_file_that_is_not_there_says_so() {
        let error = Opened::open(Path::new("/no/such/file")).await.unwrap_err();
        assert!(matches!(error, ReadError::Open(_)), "{error:?}");
    }
}
