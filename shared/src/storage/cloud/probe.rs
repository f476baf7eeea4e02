//! What a store must do, tried out before the first upload: reading, deleting, and above all creating without replacing.

use bytes::Bytes;
use object_store::{
    Attribute, Attributes, Error as StoreError, PutMode, PutMultipartOptions, PutOptions, path::Path,
};
use tokio::time::timeout;

use super::{
    CloudBlobs, PATIENCE,
    answer::{Told, Verdict, verdict},
    call::{Call, Target},
    http::NoAnswer,
    list, read, sentinel,
};
use crate::storage::{Error, Prefix};

/// The bucket cannot hold a store.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// Not the URL of a store.
    #[error("{url} is no store: it is s3://bucket/prefix, gs://bucket/prefix or az://container/prefix")]
    Url {
        /// The URL.
        url: String,
    },
    /// Credentials, region or endpoint are missing or wrong.
    #[error("make a client of the store; its settings are AWS_*, GOOGLE_* and AZURE_* variables")]
    Settings(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The certificates of this machine, or of `AWS_CA_BUNDLE`, cannot be read.
    #[error("read the certificates to trust")]
    Certificates(#[source] std::io::Error),
    /// Something that is needed was refused, or came to no answer.
    #[error("{verb}")]
    Refused {
        /// What was tried.
        verb: &'static str,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// There is no store, and there should be.
    #[error(
        "{store} holds no store of Headworks, but uploads in it are known: mend storage.url or the endpoint; where the objects are \
         lost for good, put an object {} there by hand",
        sentinel::NAME
    )]
    Gone {
        /// Where it should be.
        store: String,
    },
    /// It replaces what it was told to keep.
    #[error(
        "the store ignores If-None-Match {when}, and so would replace objects: use one that keeps it, as S3, GCS, Azure, MinIO \
         and R2 do; Garage and s3rver do not"
    )]
    Replaces {
        /// On which request.
        when: &'static str,
    },
    /// It loses the envelope.
    #[error("the store does not keep the metadata of objects, and they keep their envelope in it")]
    NoMetadata,
}

impl ProbeError {
    pub(super) fn settings(source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Settings(Box::new(source))
    }

    fn refused(verb: &'static str) -> impl FnOnce(StoreError) -> Self {
        move |source| Self::Refused { verb, source: Box::new(Told::from(source)) }
    }
}

/// Whether the store can be listed.
pub(super) async fn look(blobs: &CloudBlobs) -> Result<(), ProbeError> {
    let looked = list::list(&blobs.provider, &Prefix::objects(), None, 1).await;
    looked
        .map(drop)
        .map_err(|error: Error| ProbeError::Refused { verb: "list objects", source: Box::new(error) })
}

/// Creates an object twice, reads and deletes it; leaves nothing behind.
pub(super) async fn try_out(blobs: &CloudBlobs) -> Result<(), ProbeError> {
    look(blobs).await?;
    // A name of its own: others may be opening the store at the same time.
    let name = format!("probe-{:032x}", fastrand::u128(..));
    let (path, target) = blobs.place(&name);
    let probe = Probe { blobs, path: &path, target: &target };
    let tried = timeout(PATIENCE, probe.run());
    let tried = tried.await.unwrap_or_else(|_| {
        Err(ProbeError::Refused { verb: "try out", source: Box::new(NoAnswer(PATIENCE)) })
    });
    // Also after a failure: what was created must go.
    let removed = timeout(PATIENCE, probe.remove()).await;
    tried?;
    removed
        .unwrap_or_else(|_| Err(ProbeError::Refused { verb: "delete", source: Box::new(NoAnswer(PATIENCE)) }))
}

struct Probe<'a> {
    blobs: &'a CloudBlobs,
    path: &'a Path,
    target: &'a Target,
}

impl Probe<'_> {
    async fn run(&self) -> Result<(), ProbeError> {
        self.create().await.map_err(|(error, _)| ProbeError::refused("create an object")(error))?;
        match self.create().await {
            Err((error, Verdict::Taken | Verdict::Contested)) => drop(error),
            Err((error, _)) => return Err(ProbeError::refused("create an object twice")(error)),
            Ok(()) => return Err(ProbeError::Replaces { when: "on a put" }),
        }
        if self.blobs.options.parts {
            self.complete().await?;
        }
        let found = read::head(&*self.blobs.provider.objects, self.path).await;
        let (_, attributes) = found.map_err(ProbeError::refused("read an object"))?;
        if attributes.get(&mark()).map(|value| value.as_ref() == MARK) == Some(true) {
            Ok(())
        } else {
            Err(ProbeError::NoMetadata)
        }
    }

    async fn create(&self) -> Result<(), (StoreError, Verdict)> {
        let options = PutOptions { mode: PutMode::Create, attributes: marked(), ..PutOptions::default() };
        let call = Call::control(self.target.clone());
        let put =
            self.blobs.provider.objects.put_opts(self.path, Bytes::from_static(b"probe").into(), options);
        call.run(put).await.map(drop).map_err(|error| {
            let verdict = verdict(&error, call.seen());
            (error, verdict)
        })
    }

    /// Makes an object of parts in the place of the one that is there: that must fail too.
    async fn complete(&self) -> Result<(), ProbeError> {
        let store = &self.blobs.provider.objects;
        let options = PutMultipartOptions::from(marked());
        let begun = store.put_multipart_opts(self.path, options).await;
        let mut upload = begun.map_err(ProbeError::refused("begin an upload in parts"))?;
        let sent = upload.put_part(Bytes::from_static(b"other").into()).await;
        let call = Call::complete(self.target.clone());
        let completed = match sent {
            Ok(()) => call.run(upload.complete()).await,
            Err(error) => {
                drop(upload.abort().await);
                return Err(ProbeError::refused("send a part")(error));
            }
        };
        match completed.map_err(|error| (verdict(&error, call.seen()), error)) {
            Ok(_) => return Err(ProbeError::Replaces { when: "on the completion of parts" }),
            Err((Verdict::Taken | Verdict::Contested, _)) => {}
            Err((_, error)) => {
                drop(upload.abort().await);
                return Err(ProbeError::refused("complete an upload in parts")(error));
            }
        }
        upload.abort().await.map_err(ProbeError::refused("abort an upload in parts"))
    }

    async fn remove(&self) -> Result<(), ProbeError> {
        let removed = self.blobs.remove(self.path, self.target.clone()).await;
        removed.map_err(ProbeError::refused("delete an object"))
    }
}

const MARK: &str = "probe";

fn mark() -> Attribute {
    Attribute::Metadata("headworks".into())
}

fn marked() -> Attributes {
    Attributes::from_iter([(mark(), MARK)])
}
