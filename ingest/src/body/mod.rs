//! The body of an upload: counted, checked, hashed and timed as it passes on its way into storage.

mod announced;
mod frames;
mod pace;
mod tail;

use std::{
    fmt,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use headworks_shared::{
    config::settings::Ingest as Settings,
    model::{Hasher, Seal},
    storage::{BodyError, Source},
};

use self::pace::Pace;
pub(crate) use self::{
    announced::Announced,
    frames::{Frame, Frames, RequestFrames},
    pace::Timer,
    tail::Tail,
};

/// How many bytes are looked at to tell what they are.
const SNIFF: usize = 8 << 10;

/// What a body must keep to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) max_object: u64,
    pub(crate) stall_timeout: Duration,
    pub(crate) min_rate: u64,
    pub(crate) upload_timeout: Duration,
}

impl Bounds {
    /// Measures whether it keeps to them in time.
    pub(crate) fn timer(&self) -> Timer {
        Timer::new(Pace::new(self.stall_timeout, self.min_rate, self.upload_timeout))
    }
}

impl From<&Settings> for Bounds {
    fn from(settings: &Settings) -> Self {
        Self {
            max_object: settings.max_object.0,
            stall_timeout: settings.limits.stall_timeout.0,
            min_rate: settings.limits.min_rate.0,
            upload_timeout: settings.limits.upload_timeout.0,
        }
    }
}

/// A body on its way.
pub(crate) struct UploadBody<F> {
    frames: F,
    length: Option<u64>,
    announced: Announced,
    seen: Seen,
    timer: Timer,
    tail: Tail,
    ended: bool,
}

impl<F: Frames> UploadBody<F> {
    pub(crate) fn new(
        frames: F,
        length: Option<u64>,
        announced: Announced,
        keep_sha256: bool,
        bounds: Bounds,
    ) -> Self {
        let hasher = Hasher::new(keep_sha256 || announced.wants_sha256(), announced.wants_sha512());
        Self {
            frames,
            length,
            announced,
            seen: Seen {
                limit: bounds.max_object,
                received: 0,
                hasher,
                first_bytes: Vec::new(),
                sniffed: None,
            },
            timer: bounds.timer(),
            tail: Tail::default(),
            ended: false,
        }
    }

    /// What is behind its last byte.
    pub(crate) fn tail(&self) -> Tail {
        self.tail.clone()
    }

    /// Whether there may be bytes that were not read.
    pub(crate) fn may_go_on(&self) -> bool {
        !self.ended && self.length != Some(self.seen.received)
    }

    /// The next data, as `next` gets them; the end was seen to be the right one.
    fn poll_data<T>(
        &mut self,
        context: &mut Context<'_>,
        mut next: impl FnMut(&mut F, &mut Seen, &mut Context<'_>) -> Poll<Result<Option<Frame<T>>, BodyError>>,
    ) -> Poll<Option<Result<T, BodyError>>> {
        while !self.ended {
            let before = self.seen.received;
            let Poll::Ready(frame) = next(&mut self.frames, &mut self.seen, context) else {
                let slow = ready!(self.timer.poll_waiting(context, before));
                return self.fail(slow);
            };
            self.timer.came(before);
            let result = match frame {
                Ok(Some(Frame::Data(_))) if self.seen.received == before => continue,
                Ok(Some(Frame::Data(data))) => return Poll::Ready(Some(Ok(data))),
                Ok(Some(Frame::Trailers(fields))) => self.announced.add_trailers(&fields, &self.seen.hasher),
                Ok(None) => self.end(),
                Err(error) => Err(error),
            };
            if let Err(error) = result {
                return self.fail(error);
            }
        }
        Poll::Ready(None)
    }

    fn end(&mut self) -> Result<(), BodyError> {
        let received = self.seen.received;
        self.ended = true;
        self.tail.begin(received);
        if self.length.is_some_and(|length| length != received) {
            return Err(BodyError::Client { received });
        }
        match self.announced.mismatch(&self.seen.hasher) {
            Some(algorithm) => Err(BodyError::Digest { algorithm }),
            None => Ok(()),
        }
    }

    fn fail<T>(&mut self, error: BodyError) -> Poll<Option<Result<T, BodyError>>> {
        self.ended = true;
        Poll::Ready(Some(Err(error)))
    }
}

/// What has passed of a body.
struct Seen {
    /// The most that may pass, in bytes.
    limit: u64,
    received: u64,
    hasher: Hasher,
    first_bytes: Vec<u8>,
    sniffed: Option<&'static str>,
}

impl Seen {
    fn take(&mut self, bytes: &[u8]) -> Result<(), BodyError> {
        self.received += bytes.len() as u64;
        if self.received > self.limit {
            return Err(BodyError::TooLarge { limit: self.limit });
        }
        self.hasher.update(bytes);
        self.sniff(bytes);
        Ok(())
    }

    fn sniff(&mut self, chunk: &[u8]) {
        let room = SNIFF.saturating_sub(self.first_bytes.len());
        if self.sniffed.is_some() || room == 0 {
            return;
        }
        let look = if self.first_bytes.is_empty() && chunk.len() >= SNIFF {
            chunk.get(..SNIFF).unwrap_or(chunk)
        } else {
            self.first_bytes.extend_from_slice(chunk.get(..room).unwrap_or(chunk));
            &self.first_bytes
        };
        self.sniffed = infer::get(look).map(|kind| kind.mime_type());
        if self.sniffed.is_some() || look.len() >= SNIFF {
            // Nothing more to look for.
            self.first_bytes = Vec::new();
            self.sniffed = self.sniffed.or(Some(""));
        }
    }
}

impl<F: Frames> Source for UploadBody<F> {
    fn announced(&self) -> Option<u64> {
        self.length
    }

    fn at_most(&self) -> Option<u64> {
        let bounds = [self.length, Some(self.seen.limit)].into_iter().flatten();
        let left = bounds.map(|bound| bound.saturating_sub(self.seen.received));
        left.chain(self.frames.at_most()).min()
    }

    fn want(&mut self, most: usize) {
        self.frames.want(most);
    }

    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        self.poll_data(context, |frames, seen, context| {
            frames.poll_frame(context, seen.received).map(|frame| {
                let frame = frame?;
                if let Some(Frame::Data(chunk)) = &frame {
                    seen.take(chunk)?;
                }
                Ok(frame)
            })
        })
    }

    fn poll_lend(
        &mut self,
        context: &mut Context<'_>,
        take: &mut dyn FnMut(&[u8]),
    ) -> Poll<Option<Result<(), BodyError>>> {
        self.poll_data(context, |frames, seen, context| {
            let mut taken = Ok(());
            let frame = frames.poll_lend(context, seen.received, &mut |bytes| {
                taken = seen.take(bytes);
                if taken.is_ok() {
                    take(bytes);
                }
            });
            frame.map(|frame| taken.and(frame))
        })
    }

    fn seal(&self) -> Seal {
        Seal {
            size: self.seen.received,
            digests: self.seen.hasher.digests(),
            sniffed_type: self.seen.sniffed.filter(|kind| !kind.is_empty()).map(str::to_owned),
        }
    }
}

impl<F> fmt::Debug for UploadBody<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UploadBody")
            .field("length", &self.length)
            .field("received", &self.seen.received)
            .finish_non_exhaustive()
    }
}
