//! What an upload that ends early leaves in the stage: nothing, and after a crash not for long.

use std::{
    fs::{self, File},
    io::ErrorKind,
    path::PathBuf,
    task::{Context, Poll, ready},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures_util::future::poll_fn;
use tokio::sync::mpsc;

use super::{FSYNC, NONE, PLENTY, fresh, staged, until};
use crate::{
    limits::Budget,
    model::{Hasher, Seal},
    storage::{
        Blobs as _, BodyError, Error, Key, PutError, Source,
        conformance::{Body, SMALL_BODY, content, envelope, frames, key, read},
        disk::{
            DiskBlobs,
            probe::without_names,
            stage::{STAGE, Stage},
        },
    },
};

const HOUR: Duration = Duration::from_secs(3600);

/// Polls a put so many times, as it is woken, and drops it then. Whether it ended before.
async fn ended_within(blobs: &DiskBlobs, polls: usize, key: &Key, body: &mut Body) -> bool {
    let envelope = envelope("a");
    let mut put = blobs.put(key, &envelope, body);
    let mut polled = 0;
    poll_fn(|context| {
        if polled == polls {
            return Poll::Ready(false);
        }
        polled += 1;
        match put.as_mut().poll(context) {
            Poll::Ready(outcome) => Poll::Ready(outcome.map(|_| true).unwrap()),
            Poll::Pending if polled == polls => Poll::Ready(false),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

#[tokio::test]
async fn a_put_that_is_dropped_at_any_point_leaves_no_file_in_the_stage() {
    for (options, size) in [(NONE, 0), (FSYNC, 1000), (NONE, 300_000), (FSYNC, 300_000)] {
        let budget = Budget::new(PLENTY);
        let (blobs, root) = fresh(options, &budget);
        let content = content(size, 1);
        let mut polls = 0;
        loop {
            let key = key();
            let mut body = Body::new(frames(&content, &[50_000])).hesitant();
            let ended = ended_within(&blobs, polls, &key, &mut body).await;
            until("staged files", 0, || staged(&root)).await;
            until("leased", 0, || budget.used_bytes()).await;
            // Its last step goes on when it is dropped: then all of it is there, and never a part.
            match read(&blobs, &key, None).await {
                Ok((_, whole)) => assert!(whole == content),
                Err(Error::NotFound) => assert!(!ended),
                Err(error) => panic!("{error:?}"),
            }
            if ended {
                break;
            }
            polls += 1;
        }
        assert!(polls >= 2, "dropped at {polls} points");
    }
}

/// What a crash leaves.
fn leave_staged(blobs: &DiskBlobs) {
    let mut staged = blobs.tree.stage.create().unwrap();
    staged.write(&[content(10, 1)]).unwrap();
    std::mem::forget(staged);
}

fn staged_files(root: &tempfile::TempDir) -> Vec<PathBuf> {
    let shards = fs::read_dir(root.path().join(STAGE)).unwrap();
    let files = shards.flat_map(|shard| fs::read_dir(shard.unwrap().path()).unwrap());
    files.map(|file| file.unwrap().path()).collect()
}

#[tokio::test]
async fn staged_files_are_swept_when_they_were_idle_long_enough() {
    let (blobs, root) = fresh(NONE, &Budget::new(PLENTY));
    for _ in 0..5 {
        leave_staged(&blobs);
    }
    let all = staged_files(&root);
    let now = fs::metadata(&all[0]).unwrap().modified().unwrap();
    age(&all[..2], now - 2 * HOUR);
    age(&all[2..3], now - HOUR / 2);
    assert_eq!(blobs.sweep_unfinished(HOUR).await.unwrap(), 2);
    assert!(all[..2].iter().all(|swept| !swept.exists()));
    assert_eq!(blobs.sweep_unfinished(HOUR).await.unwrap(), 0);
    assert_eq!(blobs.sweep_unfinished(HOUR / 4).await.unwrap(), 1);
    assert_eq!(blobs.sweep_unfinished(Duration::ZERO).await.unwrap(), 2);
    assert_eq!(staged(&root), 0);
}

#[test]
fn a_whole_body_has_no_name_before_its_place_and_never_takes_anothers() {
    let root = tempfile::tempdir().unwrap();
    let open = || Stage::open(root.path()).unwrap();
    let place = root.path().join("place");
    // Before Linux 6.10 only root may do without names.
    let known = open().create_nameless().and_then(|file| file.place(&place)).is_ok();
    drop(fs::remove_file(&place));
    for (stage, names) in [(open(), 1), (without_names(root.path(), open()), u64::from(!known))] {
        let body = content(10, names);
        let write = || stage.write_whole(std::slice::from_ref(&body)).unwrap();
        drop(write());
        assert_eq!(staged(&root), 0);
        let whole = write();
        assert_eq!(staged(&root), usize::try_from(names).unwrap());
        whole.place(&place).unwrap();
        let taken = write().place(&place).unwrap_err();
        assert_eq!((taken.kind(), staged(&root)), (ErrorKind::AlreadyExists, 0));
        assert!(fs::read(&place).unwrap() == body);
        fs::remove_file(&place).unwrap();
    }
}

fn age(files: &[PathBuf], to: SystemTime) {
    for file in files {
        File::options().write(true).open(file).unwrap().set_modified(to).unwrap();
    }
}

/// A body that comes through a channel, and ends when that is closed.
struct Piped {
    frames: mpsc::Receiver<Bytes>,
    size: u64,
}

impl Source for Piped {
    fn announced(&self) -> Option<u64> {
        None
    }

    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        let frame = ready!(self.frames.poll_recv(context));
        self.size += frame.as_ref().map_or(0, |frame| frame.len() as u64);
        Poll::Ready(frame.map(Ok))
    }

    fn seal(&self) -> Seal {
        Seal { size: self.size, digests: Hasher::new(false, false).digests(), sniffed_type: None }
    }
}

#[tokio::test]
async fn an_upload_whose_file_was_swept_fails_and_is_not_visible() {
    let (blobs, root) = fresh(NONE, &Budget::new(PLENTY));
    let (send, receive) = mpsc::channel(10);
    let (key, envelope, mut body) = (key(), envelope("a"), Piped { frames: receive, size: 0 });
    let client = async {
        for frame in frames(&content(SMALL_BODY * 3, 1), &[SMALL_BODY]) {
            send.send(frame).await.unwrap();
        }
        until("staged files", 1, || staged(&root)).await;
        let swept = blobs.sweep_unfinished(Duration::ZERO).await.unwrap();
        drop(send);
        swept
    };
    let (outcome, swept) = tokio::join!(blobs.put(&key, &envelope, &mut body), client);
    assert_eq!(swept, 1);
    assert!(matches!(outcome, Err(PutError::Unavailable { .. })), "{outcome:?}");
    assert!(matches!(read(&blobs, &key, None).await, Err(Error::NotFound)));
}
