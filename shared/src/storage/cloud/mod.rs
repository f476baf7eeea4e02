//! Objects in a bucket: S3 and what speaks like it, GCS, Azure.
//!
//! A body of known length is the put's body: the client's frames take the place of a dummy below `object_store`, so that nothing of it
//! is gathered. The store is asked first, and only its yes lets the client's body flow; its last frame is held back until the body has
//! ended as announced. Bodies of unknown length go by parts that are leased from the byte budget before they are read, and small ones
//! are read whole, so that their put can be tried again. Every put is create-only, and what became of one whose answer was lost is
//! looked up: each attempt has a number, kept beside the bytes.
//!
//! GCS makes one object of parts without looking at any condition, so it would replace objects; in it nothing goes by parts. It takes
//! bodies of known length up to the limit of a single put, and those of unknown length up to one part.
//!
//! What a client may not do here: stop for longer than `stall` in the middle of a body of known length, because a store closes a
//! connection on which nothing comes (S3 after 20 s); it is told that it was too slow.

mod answer;
mod call;
mod condition;
mod feed;
mod gather;
mod http;
mod list;
mod parts;
mod pipe;
mod pour;
mod probe;
mod provider;
mod put;
mod read;
mod record;
mod resolve;
mod retry;
mod sentinel;
mod unfinished;
mod xml;

use std::{fmt, ops::Range, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use object_store::{Error as StoreError, ObjectStoreExt as _, PutPayload, path::Path};
use tokio::time::{sleep, timeout};

use self::{
    answer::Verdict,
    call::{Call, Target},
    gather::Room,
    provider::Provider,
    record::Record,
    retry::Backoff,
};
use super::{Blobs, BodyError, Content, Error, Head, Health, Key, Listed, Prefix, PutError, Source};
use crate::{
    limits::Budget,
    model::{Envelope, Seal},
    resilience::Retries,
    shutdown::Tasks,
};

pub use probe::ProbeError;

/// The longest wait for the store in all tries of one operation, and for room to read a body.
const PATIENCE: Duration = Duration::from_secs(60);

/// The longest wait for word of how the store is.
const HEALTH: Duration = Duration::from_secs(5);

/// How many objects are looked at once.
const LOOKS: usize = 32;

/// How objects are written and read.
#[derive(Clone)]
pub struct Options {
    /// The variables `AWS_*`, `GOOGLE_*` and `AZURE_*`: credentials, endpoints, regions.
    pub variables: Vec<(String, String)>,
    /// Bodies up to this many bytes are read whole, so that their put can be tried again.
    pub small_body: usize,
    /// The size of the parts that a body of unknown length goes by, in bytes: 5 MiB at least for S3, and at most 10,000 of them.
    pub part_size: usize,
    /// A body over this many bytes goes by parts even when its length is known: S3 takes 5 GiB in one put.
    pub single_put_limit: u64,
    /// Whether large bodies may go by parts; in GCS they never do.
    pub parts: bool,
    /// How many streams there may be at once: so many idle connections are kept.
    pub streams: usize,
    /// The longest wait for a connection, TLS included.
    pub connect: Duration,
    /// The longest wait for an answer, from the last byte sent.
    pub answer: Duration,
    /// The longest wait until the parts of a large object are one: S3 may take minutes.
    pub complete: Duration,
    /// The longest wait for the next bytes of a body, or for the store to take them.
    pub stall: Duration,
    /// Counts requests that are sent again.
    pub retries: Retries,
    /// Where what must still be done after a put that was broken off is done.
    pub tasks: Tasks,
}

impl Options {
    /// The usual ones.
    pub fn new(variables: impl IntoIterator<Item = (String, String)>, tasks: Tasks) -> Self {
        let ours = |name: &str| ["AWS_", "GOOGLE_", "AZURE_"].iter().any(|family| name.starts_with(family));
        Self {
            variables: variables.into_iter().filter(|(name, _)| ours(name)).collect(),
            small_body: 64 << 10,
            part_size: 16 << 20,
            single_put_limit: 5 << 30,
            parts: true,
            streams: 1024,
            connect: Duration::from_secs(5),
            answer: Duration::from_secs(30),
            complete: Duration::from_secs(300),
            stall: Duration::from_secs(15),
            retries: Retries::default(),
            tasks,
        }
    }

    fn variable(&self, name: &str) -> Option<&str> {
        self.variables.iter().find(|(one, _)| one == name).map(|(_, value)| value.as_str())
    }
}

impl fmt::Debug for Options {
    /// Without the variables: there are keys among them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("small_body", &self.small_body).finish_non_exhaustive()
    }
}

/// A store in a bucket.
#[derive(Debug)]
pub struct CloudBlobs {
    provider: Provider,
    options: Options,
    budget: Budget,
    room: Room,
}

impl CloudBlobs {
    /// Opens the store at `url` (`s3://bucket/prefix`, `gs://…`, `az://container/prefix`), tries out what it needs of it, and marks it as
    /// a store.
    ///
    /// # Errors
    /// When the store cannot be reached, read or written, or replaces objects that it was told not to.
    pub async fn open(url: &str, options: Options, budget: Budget) -> Result<Self, ProbeError> {
        let blobs = Self::new(url, options, budget).await?;
        probe::try_out(&blobs).await?;
        blobs.make().await?;
        Ok(blobs)
    }

    /// Opens a store that must be there, because uploads in it are known. An empty bucket or a wrong prefix in its place would say that
    /// all of them are gone.
    ///
    /// # Errors
    /// When there is no store; and as [`Self::open`].
    pub async fn reopen(url: &str, options: Options, budget: Budget) -> Result<Self, ProbeError> {
        let blobs = Self::new(url, options, budget).await?;
        probe::look(&blobs).await?;
        blobs.find().await?;
        probe::try_out(&blobs).await?;
        Ok(blobs)
    }

    /// Opens a store to read it: nothing is written to try it out.
    ///
    /// # Errors
    /// When the store cannot be reached or listed.
    pub async fn open_to_read(url: &str, options: Options, budget: Budget) -> Result<Self, ProbeError> {
        let blobs = Self::new(url, options, budget).await?;
        probe::look(&blobs).await?;
        Ok(blobs)
    }

    async fn new(url: &str, options: Options, budget: Budget) -> Result<Self, ProbeError> {
        let provider = Provider::new(url, &options).await?;
        let room = Room::new(&budget, options.part_size);
        let options = Options { parts: options.parts && provider.parts, ..options };
        Ok(Self { provider, options, budget, room })
    }

    /// Where an object is: for `object_store`, and as its requests are addressed.
    fn place(&self, name: &str) -> (Path, Target) {
        let text = format!("{}{name}", self.provider.prefix);
        // Keys and the prefix are paths already.
        let path = Path::parse(&text).unwrap_or_else(|_| Path::from(text));
        (path, self.provider.endpoint.target(name))
    }

    /// Removes an object, unless there is none.
    async fn remove(&self, path: &Path, target: Target) -> Result<(), StoreError> {
        let mut backoff = Backoff::new(&self.options.retries);
        loop {
            let call = Call::control(target.clone());
            let error = match call.run(self.provider.objects.delete(path)).await {
                Ok(()) | Err(StoreError::NotFound { .. }) => return Ok(()),
                Err(error) => error,
            };
            let again = answer::verdict(&error, call.seen()) == Verdict::Unclear;
            match again.then(|| backoff.next()).flatten() {
                Some(wait) => sleep(wait).await,
                None => return Err(error),
            }
        }
    }

    async fn heads(&self, keys: &[Key]) -> Vec<Result<Head, Error>> {
        let looks = keys.iter().cloned().map(|key| async move { self.head(&key).await });
        stream::iter(looks).buffered(LOOKS).collect().await
    }

    async fn open_object(&self, key: &Key, range: Option<Range<u64>>) -> Result<Content, Error> {
        let (path, target) = self.place(key.as_str());
        let call = Call::control(target);
        let opening = call.run(read::open(&*self.provider.objects, &path, range));
        let opened = timeout(PATIENCE, opening).await.map_err(|_| answer::late("read", key))?;
        let result = opened.map_err(|error| answer::failed("read", key.as_str(), error, &call))?;
        Ok(read::content(key, result))
    }

    async fn head(&self, key: &Key) -> Result<Head, Error> {
        let (path, target) = self.place(key.as_str());
        let call = Call::control(target);
        let looked = call.run(read::head(&*self.provider.objects, &path));
        let found = timeout(PATIENCE, looked).await.map_err(|_| answer::late("stat", key))?;
        match found {
            Ok((meta, attributes)) => read::to_head(key, &meta, &attributes),
            Err(error) => Err(answer::failed("stat", key.as_str(), error, &call)),
        }
    }
}

#[async_trait]
impl Blobs for CloudBlobs {
    async fn put(&self, key: &Key, envelope: &Envelope, body: &mut dyn Source) -> Result<Seal, PutError> {
        match body.announced() {
            Some(length) if length <= self.options.small_body as u64 => {
                self.put_small(key, envelope, body).await
            }
            Some(length) if length <= self.options.single_put_limit => {
                self.put_streamed(key, envelope, body, length).await
            }
            Some(_) if !self.options.parts => {
                Err(BodyError::TooLarge { limit: self.options.single_put_limit }.into())
            }
            Some(length) => self.put_planned(key, envelope, body, length).await,
            None => self.put_unknown(key, envelope, body).await,
        }
    }

    async fn create(&self, key: &Key, content: Bytes) -> Result<(), PutError> {
        let record = Record::new(None, None);
        self.put_whole(key, &record, PutPayload::from(content)).await.map(drop)
    }

    /// What a store shows is durable.
    async fn confirm(&self, _: &Key) -> Result<(), Error> {
        Ok(())
    }

    /// What is missing is looked for once more, when the store has vouched for all of them.
    async fn stat(&self, keys: &[Key]) -> Vec<Result<Head, Error>> {
        let mut heads = self.heads(keys).await;
        let found = keys.iter().zip(&heads);
        let missing: Vec<_> =
            found.filter(|(_, head)| is_missing(head)).map(|(key, _)| key.clone()).collect();
        if missing.is_empty() {
            return heads;
        }
        let again = match self.vouch().await {
            Ok(()) => self.heads(&missing).await,
            Err(error) => missing.iter().map(|_| Err(error.clone())).collect(),
        };
        for (head, again) in heads.iter_mut().filter(|head| is_missing(head)).zip(again) {
            *head = again;
        }
        heads
    }

    async fn read(&self, key: &Key, range: Option<Range<u64>>) -> Result<Content, Error> {
        match self.open_object(key, range.clone()).await {
            Err(Error::NotFound) => {
                self.vouch().await?;
                self.open_object(key, range).await
            }
            opened => opened,
        }
    }

    async fn delete(&self, key: &Key) -> Result<(), Error> {
        let (path, target) = self.place(key.as_str());
        self.remove(&path, target)
            .await
            .map_err(|error| answer::unavailable("delete", key.as_str(), answer::Told::from(error)))
    }

    async fn list(&self, prefix: &Prefix, after: Option<&Key>, limit: usize) -> Result<Vec<Listed>, Error> {
        list::list(&self.provider, prefix, after, limit).await
    }

    /// S3's parts are aborted here. Azure forgets blocks by itself, after a week; in GCS there are none.
    async fn sweep_unfinished(&self, idle: Duration) -> Result<u64, Error> {
        match &self.provider.s3 {
            Some(s3) => unfinished::sweep(&self.provider, s3, idle).await,
            None => Ok(0),
        }
    }

    async fn health(&self) -> Result<Health, Error> {
        let prefix = Prefix::objects();
        match timeout(HEALTH, list::list(&self.provider, &prefix, None, 1)).await {
            Ok(seen) => seen.map(|_| Health { free_ratio: None }),
            Err(_) => Err(answer::unavailable("look at", "the store", http::NoAnswer(HEALTH))),
        }
    }
}

fn is_missing(head: &Result<Head, Error>) -> bool {
    matches!(head, Err(Error::NotFound))
}
