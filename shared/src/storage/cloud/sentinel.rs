//! The object that says that this is the store, and not a bucket or a prefix like it.
//!
//! A store says of an object that is lost what a gateway says when it has lost the store: 404, and to a HEAD without a word. An upload that
//! was acknowledged must not be taken for lost by that. So whoever is told that there is no object asks for this one, which always is, and
//! only then looks for the other once more. It lies beside what is listed, and is made when the store is first opened for writing.

use bytes::Bytes;
use object_store::{Error as StoreError, PutMode, PutOptions};
use tokio::time::{sleep, timeout};

use super::{
    CloudBlobs, PATIENCE,
    answer::{Told, Verdict, unavailable, verdict},
    call::Call,
    http::NoAnswer,
    probe::ProbeError,
    read,
    retry::Backoff,
};
use crate::storage::Error;

/// Its name, below the store's prefix.
pub(super) const NAME: &str = "headworks-store";

const CONTENT: &[u8] =
    b"A store of Headworks. Without this object it is taken for the wrong bucket or prefix, and is not opened.\n";

impl CloudBlobs {
    /// Whether there is a store.
    pub(super) async fn find(&self) -> Result<(), ProbeError> {
        match self.is_marked().await {
            Ok(true) => Ok(()),
            Ok(false) => Err(ProbeError::Gone { store: self.provider.endpoint.to_string() }),
            Err(error) => Err(ProbeError::Refused { verb: "look for the store", source: Box::new(error) }),
        }
    }

    /// Makes it a store, unless it is one. Others may be doing so at the same time.
    pub(super) async fn make(&self) -> Result<(), ProbeError> {
        let refused = |source| ProbeError::Refused { verb: "mark the store as ours", source };
        let mut backoff = Backoff::new(&self.options.retries);
        loop {
            if self.is_marked().await.map_err(|error| refused(Box::new(error)))? {
                return Ok(());
            }
            let marked = timeout(PATIENCE, self.mark()).await;
            let error = match marked.map_err(|_| refused(Box::new(NoAnswer(PATIENCE))))? {
                Ok(()) | Err((_, Verdict::Taken)) => return Ok(()),
                Err((error, Verdict::Contested)) => error,
                Err((error, _)) => return Err(refused(Box::new(Told::from(error)))),
            };
            match backoff.next() {
                Some(wait) => sleep(wait).await,
                None => return Err(refused(Box::new(Told::from(error)))),
            }
        }
    }

    /// The store answers for itself: what it says of others is true.
    pub(super) async fn vouch(&self) -> Result<(), Error> {
        if self.is_marked().await? { Ok(()) } else { Err(unavailable("look for", NAME, NotTheStore)) }
    }

    async fn is_marked(&self) -> Result<bool, Error> {
        let (path, target) = self.place(NAME);
        let call = Call::control(target);
        let looked = timeout(PATIENCE, call.run(read::head(&*self.provider.objects, &path))).await;
        match looked.map_err(|_| unavailable("look for", NAME, NoAnswer(PATIENCE)))? {
            Ok(_) => Ok(true),
            Err(StoreError::NotFound { .. }) => Ok(false),
            Err(error) => Err(unavailable("look for", NAME, Told::from(error))),
        }
    }

    async fn mark(&self) -> Result<(), (StoreError, Verdict)> {
        let (path, target) = self.place(NAME);
        let options = PutOptions::from(PutMode::Create);
        let call = Call::control(target);
        let put = self.provider.objects.put_opts(&path, Bytes::from_static(CONTENT).into(), options);
        call.run(put).await.map(drop).map_err(|error| {
            let verdict = verdict(&error, call.seen());
            (error, verdict)
        })
    }
}

/// There is another bucket or prefix in its place, or something that answers for it.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the store is not there, so what it says is missing may not be")]
struct NotTheStore;
