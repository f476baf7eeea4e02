//! `Idempotency-Key`: an upload that is sent again is the same upload.
//!
//! A create-only marker object, written before the body, gives the key its upload id. A repeat finds the marker, and under its id
//! the object: it is queued again (harmless) and answered as before. Two tries at the same time write to the same key, and the
//! store lets one of them win. Refused are other content under the same key, a key whose upload has failed or was deleted, and one
//! that is too old: nothing new may come of it.

use bytes::Bytes;
use headworks_shared::{
    fault::{Point, point},
    http::{Code, Problem},
    meta::{Error as MetaError, Found},
    model::{IDEMPOTENCY_KEY_VALID, ObjectPath, Scope, Seal, State, UploadId},
    report::Report,
    storage::{Error as StorageError, Head, Key, PutError, digest},
};
use serde::{Deserialize, Serialize};
use tracing::error;
use uuid::Uuid;

use super::{commit::Stored, wants::Wants};
use crate::{
    App,
    answer::{COME_BACK, put_problem, storage_problem},
};

/// A marker's content; written once, read by every later version.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Marker {
    v: u8,
    id: UploadId,
    path: ObjectPath,
}

/// The largest marker that is read, in bytes.
const MAX_MARKER: usize = 4096;

/// Which upload a request is.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) id: UploadId,
    pub(crate) marker: Option<Uuid>,
    /// The object of an earlier try, if it came to be.
    pub(crate) earlier: Option<Box<Head>>,
}

/// Finds out which upload this is: a new one, or one that was begun before.
pub(crate) async fn identify(app: &App, wants: &Wants, path: &ObjectPath) -> Result<Identity, Problem> {
    let id = app.stack.clock.upload_id();
    let Some(key) = &wants.idempotency_key else { return Ok(Identity { id, marker: None, earlier: None }) };
    let marker = Key::marker_id(&wants.scope, key);
    let content = serde_json::to_vec(&Marker { v: 1, id, path: path.clone() }).unwrap_or_default();
    match app.stack.blobs.create(&Key::marker(marker), content.into()).await {
        Ok(()) => {
            point(Point::AfterMarker);
            Ok(Identity { id, marker: Some(marker), earlier: None })
        }
        Err(PutError::Exists) => begun_before(app, wants, path, marker).await,
        Err(error) => Err(put_problem(&error).1),
    }
}

async fn begun_before(
    app: &App,
    wants: &Wants,
    path: &ObjectPath,
    marker: Uuid,
) -> Result<Identity, Problem> {
    let before = read(app, marker).await?;
    if before.path != *path {
        return Err(reused("the key was used for another path"));
    }
    if app.stack.clock.now().since(before.id.time()) > IDEMPOTENCY_KEY_VALID {
        return Err(reused("the key is older than 12 hours; use a new key"));
    }
    let earlier = earlier(app, &wants.scope, before.id).await?.map(Box::new);
    Ok(Identity { id: before.id, marker: Some(marker), earlier })
}

/// The object of an earlier try, unless it has come to an end after which it must not come again. The store is asked first: what is
/// gone from it was in the ledger before.
pub(crate) async fn earlier(app: &App, scope: &Scope, id: UploadId) -> Result<Option<Head>, Problem> {
    let mut missed = false;
    loop {
        let head = head(app, scope, id).await?;
        let states = app.stack.meta.states(&[id]).await.map_err(|error| not_asked(&error))?;
        match (states.into_iter().next().flatten(), head) {
            (None, head) => return Ok(head),
            (Some(State::Stored), Some(head)) => return Ok(Some(head)),
            // The earlier try may have come to its end between the two questions.
            (Some(State::Stored), None) if !missed => missed = true,
            (Some(State::Stored), None) => {
                error!(upload.id = %id, "the bytes of an object are missing in storage");
                return Err(Problem::new(Code::ObjectMissing).close());
            }
            (Some(State::Deleted), _) => return Err(Problem::new(Code::Deleted).close()),
            (Some(State::Failed), _) => return Err(failed(app, scope, id).await),
        }
    }
}

async fn head(app: &App, scope: &Scope, id: UploadId) -> Result<Option<Head>, Problem> {
    let key = Key::object(scope, id);
    match app.stack.blobs.stat(std::slice::from_ref(&key)).await.into_iter().next() {
        Some(Ok(head)) => Ok(Some(head)),
        None | Some(Err(StorageError::NotFound)) => Ok(None),
        Some(Err(error)) => Err(storage_problem(&error)),
    }
}

/// Why an upload that has failed does not come again.
async fn failed(app: &App, scope: &Scope, id: UploadId) -> Problem {
    match app.stack.meta.find(scope, id).await {
        Ok(Some(Found::Failed { reason })) if reason == Code::Exists.as_str() => {
            Problem::new(Code::Exists).close()
        }
        Ok(_) => reused("the upload with this key failed; use a new key"),
        Err(error) => not_asked(&error),
    }
}

fn not_asked(failed: &MetaError) -> Problem {
    error!(error = %Report(failed), "ledger not asked for a repeat");
    Problem::new(Code::Unavailable).retry_after(COME_BACK).close()
}

/// What an earlier try has stored.
pub(crate) async fn stored(app: &App, wants: &Wants, key: &Key, head: Head) -> Result<Stored, Problem> {
    let (Some((scope, id)), Some(envelope)) = (key.upload(), head.envelope) else {
        error!(%key, "object without its envelope");
        return Err(Problem::new(Code::Internal).close());
    };
    let seal = match head.seal {
        Some(seal) => seal,
        None => seal_again(app, wants, key, &scope, id).await?,
    };
    Ok(Stored { id, envelope, seal })
}

/// A store that was given a body as it came could not keep its seal beside it: the ledger knows it, or else the bytes do.
async fn seal_again(
    app: &App,
    wants: &Wants,
    key: &Key,
    scope: &Scope,
    id: UploadId,
) -> Result<Seal, Problem> {
    if let Ok(Some(Found::Stored(object))) = app.stack.meta.find(scope, id).await {
        return Ok(Seal { size: object.size, digests: object.digests, sniffed_type: object.sniffed_type });
    }
    let sha256 = app.settings.storage.sha256 || wants.announced.wants_sha256();
    let (size, digests) =
        digest(&*app.stack.blobs, key, sha256).await.map_err(|error| storage_problem(&error))?;
    Ok(Seal { size, digests, sniffed_type: None })
}

async fn read(app: &App, marker: Uuid) -> Result<Marker, Problem> {
    let mut content =
        app.stack.blobs.read(&Key::marker(marker), None).await.map_err(|error| storage_problem(&error))?;
    let mut bytes = Vec::new();
    while let Some(chunk) = futures_util::StreamExt::next(&mut content.chunks).await {
        let chunk: Bytes = chunk.map_err(|error| storage_problem(&error))?;
        if bytes.len() + chunk.len() > MAX_MARKER {
            break;
        }
        bytes.extend_from_slice(&chunk);
    }
    serde_json::from_slice(&bytes).map_err(|error| {
        error!(%marker, %error, "marker not understood");
        Problem::new(Code::Internal).close()
    })
}

/// The key stands for something else.
pub(crate) fn reused(detail: &str) -> Problem {
    Problem::new(Code::KeyReused).detail(detail).close()
}
