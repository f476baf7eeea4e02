//! Finds out what became of a put whose answer was lost: the object, if there is one, says which put made it.

use tokio::time::{sleep, timeout};

use super::{
    CloudBlobs, PATIENCE,
    answer::{put_failed_by, unavailable},
    call::Call,
    read,
    record::Record,
    retry::Backoff,
};
use crate::{
    report::Report,
    storage::{Cause, Error, Key, PutError},
};

/// Whose object is under a key.
#[derive(Debug)]
pub(super) enum Whose {
    /// This put made it.
    Ours,
    /// Another one did.
    Theirs,
    /// There is none.
    Nobodys,
}

impl CloudBlobs {
    /// Looks until it is known.
    pub(super) async fn whose(&self, key: &Key, record: &Record) -> Result<Whose, Error> {
        let mut backoff = Backoff::new(&self.options.retries);
        loop {
            let error = match self.look(key, record).await {
                Err(error @ Error::Unavailable { .. }) => error,
                Err(Error::NotFound) => return Ok(Whose::Nobodys),
                Err(Error::Damaged { .. }) => return Ok(Whose::Theirs),
                Ok(whose) => return Ok(whose),
            };
            match backoff.next() {
                Some(wait) => sleep(wait).await,
                None => return Err(error),
            }
        }
    }

    async fn look(&self, key: &Key, record: &Record) -> Result<Whose, Error> {
        let (path, target) = self.place(key.as_str());
        let call = Call::control(target);
        let looked = timeout(PATIENCE, call.run(read::head(&*self.provider.objects, &path))).await;
        let looked = looked.map_err(|_| super::answer::late("stat", key))?;
        let (_, attributes) =
            looked.map_err(|error| super::answer::failed("stat", key.as_str(), error, &call))?;
        let found = Record::of(&attributes, key).map_err(|error| unavailable("stat", key.as_str(), error))?;
        Ok(match found {
            Some(found) if found.attempt == record.attempt => Whose::Ours,
            _ => Whose::Theirs,
        })
    }

    /// What became of a put that failed for `why` after the store may have had all of it.
    pub(super) async fn settle(&self, key: &Key, record: &Record, why: Cause) -> Result<(), PutError> {
        match self.whose(key, record).await {
            Ok(Whose::Ours) => {
                tracing::debug!(%key, why = %Report(&*why), "put answered by nobody, and done all the same");
                Ok(())
            }
            Ok(Whose::Theirs) => Err(PutError::Exists),
            Ok(Whose::Nobodys) | Err(_) => Err(put_failed_by(key, why)),
        }
    }
}
