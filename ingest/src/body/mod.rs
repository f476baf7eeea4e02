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
    frames::{Frame, Frames, IncomingFrames},
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
    bounds: Bounds,
    announced: Announced,
    hasher: Hasher,
    received: u64,
    first_bytes: Vec<u8>,
    sniffed: Option<&'static str>,
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
            bounds,
            announced,
            hasher,
            received: 0,
            first_bytes: Vec::new(),
            sniffed: None,
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
        !self.ended && self.length != Some(self.received)
    }

    fn take(&mut self, chunk: &Bytes) -> Result<(), BodyError> {
        self.received += chunk.len() as u64;
        if self.received > self.bounds.max_object {
            return Err(BodyError::TooLarge { limit: self.bounds.max_object });
        }
        self.hasher.update(chunk);
        self.sniff(chunk);
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

    fn end(&mut self) -> Result<(), BodyError> {
        self.ended = true;
        self.tail.begin(self.received);
        if self.length.is_some_and(|length| length != self.received) {
            return Err(BodyError::Client { received: self.received });
        }
        match self.announced.mismatch(&self.hasher) {
            Some(algorithm) => Err(BodyError::Digest { algorithm }),
            None => Ok(()),
        }
    }
}

impl<F: Frames> Source for UploadBody<F> {
    fn announced(&self) -> Option<u64> {
        self.length
    }

    fn at_most(&self) -> Option<u64> {
        let bounds = [self.length, Some(self.bounds.max_object)].into_iter().flatten();
        let left = bounds.map(|bound| bound.saturating_sub(self.received));
        left.chain(self.frames.at_most()).min()
    }

    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        while !self.ended {
            let frame = match self.frames.poll_frame(context, self.received) {
                Poll::Ready(frame) => frame,
                Poll::Pending => {
                    let slow = ready!(self.timer.poll_waiting(context, self.received));
                    return self.fail(slow);
                }
            };
            self.timer.came(self.received);
            let result = match frame {
                Ok(Some(Frame::Data(chunk))) if chunk.is_empty() => continue,
                Ok(Some(Frame::Data(chunk))) => self.take(&chunk).map(|()| Some(chunk)),
                Ok(Some(Frame::Trailers(fields))) => {
                    self.announced.add_trailers(&fields, &self.hasher).map(|()| None)
                }
                Ok(None) => self.end().map(|()| None),
                Err(error) => Err(error),
            };
            match result {
                Ok(Some(chunk)) => return Poll::Ready(Some(Ok(chunk))),
                Ok(None) => {}
                Err(error) => return self.fail(error),
            }
        }
        Poll::Ready(None)
    }

    fn seal(&self) -> Seal {
        Seal {
            size: self.received,
            digests: self.hasher.digests(),
            sniffed_type: self.sniffed.filter(|kind| !kind.is_empty()).map(str::to_owned),
        }
    }
}

impl<F> UploadBody<F> {
    fn fail(&mut self, error: BodyError) -> Poll<Option<Result<Bytes, BodyError>>> {
        self.ended = true;
        Poll::Ready(Some(Err(error)))
    }
}

impl<F> fmt::Debug for UploadBody<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UploadBody")
            .field("length", &self.length)
            .field("received", &self.received)
            .finish_non_exhaustive()
    }
}
