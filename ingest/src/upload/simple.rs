//! `PUT /v1/files/{path…}`: the body is the object.

use std::{sync::Arc, time::Duration};

use headworks_shared::{
    http::{Code, Context, Problem, Reply, RequestBody},
    meta::Found,
    model::{ObjectPath, Seal, Status, UploadId},
    report::Report,
    storage::{Error as StorageError, Head, Key, PutError, Source},
};
use tokio::time::Instant;
use tracing::{debug, error};

use super::{
    commit::{self, Decided, Stored, commit},
    repeat::{self, Identity},
    wants::Wants,
};
use crate::{
    App,
    admission::{Credit, Refusal},
    answer,
    body::{Bounds, Frames, RequestFrames, UploadBody},
    metrics::{Outcome, Protocol},
};

/// How long a conditional upload waits for its condition to be decided, unless the client says how long.
const DECISION: Duration = Duration::from_secs(10);

/// Takes one object in.
pub(crate) async fn put(
    app: &Arc<App>,
    context: &Context,
    path: ObjectPath,
    wants: Result<Wants, Problem>,
    body: RequestBody,
) -> Result<Reply, Problem> {
    let result = admitted(app, context, path, wants, body).await;
    let (outcome, answer) = match result {
        Ok((outcome, reply)) => (outcome, Ok(reply)),
        Err((outcome, problem)) => (outcome, Err(problem)),
    };
    app.metrics.ended(Protocol::Simple, outcome);
    answer
}

/// What an upload led to, for the metrics and for the client.
pub(crate) type Ended = Result<(Outcome, Reply), (Outcome, Problem)>;

async fn admitted(
    app: &Arc<App>,
    context: &Context,
    path: ObjectPath,
    wants: Result<Wants, Problem>,
    body: RequestBody,
) -> Ended {
    let rejected = |problem| (Outcome::Rejected, problem);
    let wants = wants.map_err(rejected)?;
    let limit = app.settings.ingest.max_object.0;
    if wants.length.is_some_and(|length| length > limit) {
        let detail = format!("the largest object is {limit} bytes");
        return Err(rejected(Problem::new(Code::TooLarge).detail(detail).close()));
    }
    let refused = |refusal: Refusal| (Outcome::Refused, refuse(app, refusal));
    let (permit, credit) = app.admission.admit(wants.priority).await.map_err(refused)?;
    let (app, context) = (Arc::clone(app), context.clone());
    let tasks = app.tasks.clone();
    let upload = async move {
        let _until_answered = permit;
        let frames = RequestFrames(body);
        one(&app, &context, path, &wants, frames, credit).await
    };
    // A client that goes away ends its body, and so the upload; but what follows the last byte runs to its end.
    match tasks.finish(upload).await {
        Ok(ended) => ended,
        Err(broken) => {
            error!(error = %Report(&broken), "upload broke down");
            Err((Outcome::Failed, Problem::new(Code::Internal).close()))
        }
    }
}

/// The answer to an upload that may not begin, counted.
pub(crate) fn refuse(app: &App, refusal: Refusal) -> Problem {
    app.metrics.refusals.with_label_values(&[refusal.reason()]).inc();
    debug!(reason = refusal.reason(), "upload refused");
    refusal.to_problem(app.admission.line.refused(Instant::now()), fastrand::f64())
}

/// Takes in one object whose right to do so is in hand.
pub(crate) async fn one<F: Frames>(
    app: &App,
    context: &Context,
    path: ObjectPath,
    wants: &Wants,
    frames: F,
    credit: Credit,
) -> Ended {
    let Identity { id, marker, earlier } =
        repeat::identify(app, wants, &path).await.map_err(|problem| (blame(&problem), problem))?;
    let key = Key::object(&wants.scope, id);
    let bounds = Bounds::from(&app.settings.ingest);
    let mut body =
        UploadBody::new(frames, wants.length, wants.announced, app.settings.storage.sha256, bounds);
    if let Some(head) = earlier {
        // Boxed here and below: a repeat is rare, and what it needs would double what every upload holds.
        return Box::pin(again(app, wants, &key, *head, body, credit)).await;
    }
    if wants.only_if_absent {
        absent(app, wants, &path).await?;
    }
    let mut envelope = wants.envelope(path, context);
    envelope.marker = marker;
    let tail = body.tail();
    let put = app.steps.walk(app.stack.blobs.put(&key, &envelope, &mut body));
    match app.admission.streams.watch(&tail, put).await {
        Ok(seal) => {
            let begun = Begun::Now { last_byte_at: tail.began() };
            finish(app, wants, Stored { id, envelope, seal }, credit, begun).await
        }
        // Another try of the same upload was quicker. A store that is asked before the body says so before it is read.
        Err(PutError::Exists) if marker.is_some() => {
            let head = quicker(app, wants, id).await.map_err(|problem| (blame(&problem), problem))?;
            Box::pin(again(app, wants, &key, head, body, credit)).await
        }
        Err(error) => Err(answer::put_problem(&error)),
    }
}

/// Whose fault a problem is.
fn blame(problem: &Problem) -> Outcome {
    if problem.code().status().is_server_error() { Outcome::Failed } else { Outcome::Rejected }
}

/// When an upload began.
#[derive(Clone, Copy)]
enum Begun {
    /// With this request.
    Now { last_byte_at: Option<Instant> },
    /// With an earlier one, which this one repeats.
    Before,
}

/// Commits the upload, and waits for its end where the client or its condition asks for it.
async fn finish(app: &App, wants: &Wants, stored: Stored, credit: Credit, begun: Begun) -> Ended {
    let conditional = stored.envelope.only_if_absent;
    let wait = wants.wait.or(conditional.then_some(DECISION));
    let listener = wait.map(|_| app.stack.outcomes.listen(stored.id));
    let mut receipt = commit(app, &stored, credit).await;
    let outcome = match begun {
        _ if receipt.status == Status::Deferred => Outcome::Deferred,
        Begun::Now { .. } => Outcome::Accepted,
        Begun::Before => Outcome::Repeated,
    };
    if let Begun::Now { last_byte_at } = begun {
        app.metrics.bytes.inc_by(receipt.size);
        app.metrics.commit_seconds.observe(last_byte_at.map_or(0.0, |at| at.elapsed().as_secs_f64()));
    }
    let decided = match (listener, wait) {
        (Some(listener), Some(wait)) => commit::decided(app, listener, wait).await,
        _ => Decided::NotYet,
    };
    match decided {
        Decided::Stored => receipt.status = Status::Stored,
        Decided::Failed if conditional && lost(app, &stored).await => {
            return Err((Outcome::Rejected, exists()));
        }
        Decided::Failed => receipt.status = Status::Failed,
        Decided::NotYet if conditional => return Ok((outcome, answer::undecided(&receipt))),
        Decided::NotYet => {}
    }
    Ok((outcome, answer::receipt(&receipt)))
}

/// Whether an upload failed because another one was first at its path.
async fn lost(app: &App, stored: &Stored) -> bool {
    let found = app.stack.meta.find(&stored.envelope.scope, stored.id).await;
    matches!(found, Ok(Some(Found::Failed { reason })) if reason == Code::Exists.as_str())
}

/// Refuses an upload whose path is taken, before its body. The processor's transaction has the last word.
async fn absent(app: &App, wants: &Wants, path: &ObjectPath) -> Result<(), (Outcome, Problem)> {
    match app.stack.meta.at_path(&wants.scope, path).await {
        Ok(None) => Ok(()),
        Ok(Some(_)) => Err((Outcome::Rejected, exists())),
        Err(failed) => {
            error!(error = %Report(&failed), "condition not looked up");
            Err((Outcome::Failed, Problem::new(Code::Unavailable).retry_after(answer::COME_BACK).close()))
        }
    }
}

fn exists() -> Problem {
    Problem::new(Code::Exists).close()
}

/// A repeat of an upload that is stored: the same answer, without its body where a digest proves it the same, else after it.
async fn again<F: Frames>(
    app: &App,
    wants: &Wants,
    key: &Key,
    head: Head,
    mut body: UploadBody<F>,
    credit: Credit,
) -> Ended {
    if wants.length.is_some_and(|length| length != head.size) {
        return Err((Outcome::Rejected, repeat::reused("the key was used for content of another size")));
    }
    let stored = stored_before(app, wants, key, head).await?;
    if wants.announced.differs(&stored.seal.digests).is_some() {
        return Err((Outcome::Rejected, repeat::reused("the key was used for other content")));
    }
    if wants.announced.proves(&stored.seal.digests) {
        let (outcome, reply) = repeated(app, wants, key, stored, credit).await?;
        return Ok((outcome, if body.may_go_on() { answer::last(reply) } else { reply }));
    }
    while let Some(chunk) = std::future::poll_fn(|context| body.poll_chunk(context)).await {
        chunk.map_err(|error| answer::put_problem(&PutError::Body(error)))?;
    }
    same(app, wants, key, stored, &body.seal(), credit).await
}

/// The object that another try of this upload has put.
async fn quicker(app: &App, wants: &Wants, id: UploadId) -> Result<Head, Problem> {
    let head = repeat::earlier(app, &wants.scope, id).await?;
    head.ok_or_else(|| answer::storage_problem(&StorageError::NotFound))
}

async fn stored_before(
    app: &App,
    wants: &Wants,
    key: &Key,
    head: Head,
) -> Result<Stored, (Outcome, Problem)> {
    repeat::stored(app, wants, key, head).await.map_err(|problem| (blame(&problem), problem))
}

/// The bytes have passed: they are the same, or the key stands for something else.
async fn same(app: &App, wants: &Wants, key: &Key, stored: Stored, seen: &Seal, credit: Credit) -> Ended {
    if (stored.seal.size, stored.seal.digests.crc64nvme) == (seen.size, seen.digests.crc64nvme) {
        repeated(app, wants, key, stored, credit).await
    } else {
        Err((Outcome::Rejected, repeat::reused("the key was used for other content")))
    }
}

/// Queues the job again, which is harmless, and gives the answer of the first time; but not before the object is durable, because
/// the first try may still be at it.
async fn repeated(app: &App, wants: &Wants, key: &Key, stored: Stored, credit: Credit) -> Ended {
    let failed = |error| (Outcome::Failed, answer::storage_problem(&error));
    app.stack.blobs.confirm(key).await.map_err(failed)?;
    finish(app, wants, stored, credit, Begun::Before).await
}
