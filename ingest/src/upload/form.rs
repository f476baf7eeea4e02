//! `POST /v1/files`: a form with one or more files, streamed one after another, with a result for each.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context as Poller, Poll, ready},
};

use bytes::Bytes;
use futures_util::Stream;
use headworks_shared::{
    http::{Code, Context, Problem, Reply, json},
    model::ObjectPath,
    report::Report,
    storage::BodyError,
};
use http::{StatusCode, request::Parts};
use hyper::body::Incoming;
use multer::{Field, Multipart};
use serde_json::{Value, json as value};
use tokio::time::timeout;
use tracing::error;

use super::{
    simple::{Ended, one, refuse},
    wants::Wants,
};
use crate::{
    App,
    answer::put_problem,
    body::{Announced, Frame, Frames, IncomingFrames},
    metrics::{Outcome, Protocol},
};

/// What the form's parser may hold: a sip of [`SIP`] bytes, the one before it, and a boundary.
const PARSER_BYTES: usize = 3 * SIP;

/// The parser swallows all that is ready; so no more than this is ready at a time.
const SIP: usize = 64 << 10;

/// Takes the files of a form in.
pub(crate) async fn post(
    app: &Arc<App>,
    context: &Context,
    head: &Parts,
    body: Incoming,
) -> Result<Reply, Problem> {
    let wants = Wants::of(head)?;
    let boundary = boundary(&wants)?;
    if wants.idempotency_key.is_some() || wants.only_if_absent || wants.announced != Announced::default() {
        let detail =
            "Idempotency-Key, If-None-Match and digests are for one object: use PUT /v1/files/{path}";
        return Err(Problem::new(Code::BadHeader).detail(detail).close());
    }
    let permit = app.admission.permit().await.map_err(|refusal| refuse(app, refusal))?;
    let first = app.admission.credit(wants.priority).await.map_err(|refusal| refuse(app, refusal))?;
    let (app, context) = (Arc::clone(app), context.clone());
    let tasks = app.tasks.clone();
    let upload = async move {
        let _until_answered = permit;
        let _buffered = app.budget.lease(PARSER_BYTES).await;
        let sips = Sips { frames: IncomingFrames(body), received: 0, since_pause: 0 };
        Form { app: &app, context: &context, wants, results: Vec::new() }
            .take(Multipart::new(sips, boundary), first)
            .await
    };
    tasks.finish(upload).await.unwrap_or_else(|broken| {
        error!(error = %Report(&broken), "upload broke down");
        Err(Problem::new(Code::Internal).close())
    })
}

fn boundary(wants: &Wants) -> Result<String, Problem> {
    let unsupported = || {
        Problem::new(Code::UnsupportedMediaType).detail("send multipart/form-data with a boundary").close()
    };
    multer::parse_boundary(wants.content_type.as_deref().unwrap_or_default()).map_err(|_| unsupported())
}

/// A form on its way in.
struct Form<'a> {
    app: &'a App,
    context: &'a Context,
    wants: Wants,
    results: Vec<(StatusCode, Value)>,
}

impl Form<'_> {
    async fn take(
        mut self,
        mut form: Multipart<'static>,
        first: crate::admission::Credit,
    ) -> Result<Reply, Problem> {
        let mut credit = Some(first);
        while let Some(field) = self.next(&mut form).await? {
            if field.name() != Some("file") {
                self.pass_over(field).await?;
                continue;
            }
            if self.results.len() >= self.app.settings.ingest.max_files_per_request {
                let detail = format!("at most {} files; those before were taken", self.results.len());
                return Err(Problem::new(Code::TooManyFiles).detail(detail).close());
            }
            let right = match credit.take() {
                Some(right) => Ok(right),
                None => self.app.admission.credit(self.wants.priority).await,
            };
            let ended = match right {
                Ok(right) => self.file(field, right).await,
                Err(refusal) => Err((Outcome::Refused, refuse(self.app, refusal))),
            };
            if !self.keep(ended)? {
                break;
            }
        }
        self.answer()
    }

    /// The next part of the form; the parts before it were read to their ends.
    async fn next(&self, form: &mut Multipart<'static>) -> Result<Option<Field<'static>>, Problem> {
        match timeout(self.app.settings.ingest.limits.stall_timeout.0, form.next_field()).await {
            Ok(field) => field.map_err(|error| put_problem(&body_error(&error, 0).into()).1),
            Err(_) => Err(Problem::new(Code::TooSlow).close()),
        }
    }

    async fn pass_over(&self, mut field: Field<'static>) -> Result<(), Problem> {
        loop {
            match timeout(self.app.settings.ingest.limits.stall_timeout.0, field.chunk()).await {
                Ok(Ok(Some(_))) => {}
                Ok(Ok(None)) => return Ok(()),
                Ok(Err(error)) => return Err(put_problem(&body_error(&error, 0).into()).1),
                Err(_) => return Err(Problem::new(Code::TooSlow).close()),
            }
        }
    }

    async fn file(&self, field: Field<'static>, credit: crate::admission::Credit) -> Ended {
        let path = match field.file_name().unwrap_or_default().parse::<ObjectPath>() {
            Ok(path) => path,
            Err(error) => {
                let problem = Problem::new(Code::BadPath).detail(format!("the file's name: {error}"));
                return self.pass_over(field).await.map_or_else(
                    |broken| Err((Outcome::Broken, broken)),
                    |()| Err((Outcome::Rejected, problem)),
                );
            }
        };
        let content_type = field.content_type().map(|kind| kind.as_ref().to_owned());
        let wants = Wants { content_type, length: None, ..self.wants.clone() };
        one(self.app, self.context, path, &wants, FieldFrames(field), credit).await
    }

    /// Keeps a file's result; says whether the form can be read on.
    fn keep(&mut self, ended: Ended) -> Result<bool, Problem> {
        match ended {
            Ok((outcome, reply)) => {
                self.app.metrics.ended(Protocol::Form, outcome);
                let (head, body) = reply.into_parts();
                let body = body.into_bytes().unwrap_or_default();
                self.results.push((head.status, serde_json::from_slice(&body).unwrap_or_default()));
                Ok(true)
            }
            Err((outcome, problem)) => {
                self.app.metrics.ended(Protocol::Form, outcome);
                if outcome == Outcome::Broken && self.results.is_empty() {
                    return Err(problem);
                }
                // What is left of the part cannot be told from the next, unless it was read to its end.
                let readable = matches!(problem.code(), Code::BadPath | Code::DigestMismatch);
                self.results.push((problem.code().status(), problem.to_json(&self.context.request_id)));
                Ok(readable)
            }
        }
    }

    fn answer(self) -> Result<Reply, Problem> {
        let status = match self.results.as_slice() {
            [] => {
                let detail = "the form has no part with the name \"file\"";
                return Err(Problem::new(Code::BadBody).detail(detail));
            }
            results if results.iter().all(|(status, _)| *status == StatusCode::CREATED) => {
                StatusCode::CREATED
            }
            _ => StatusCode::MULTI_STATUS,
        };
        let files: Vec<Value> = self.results.into_iter().map(|(_, result)| result).collect();
        Ok(json(status, &value!({ "files": files })))
    }
}

/// The body of a form for its parser, in sips.
struct Sips {
    frames: IncomingFrames,
    received: u64,
    since_pause: usize,
}

impl Stream for Sips {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, poller: &mut Poller<'_>) -> Poll<Option<Self::Item>> {
        if self.since_pause >= SIP {
            self.since_pause = 0;
            poller.waker().wake_by_ref();
            return Poll::Pending;
        }
        let received = self.received;
        match ready!(self.frames.poll_frame(poller, received)) {
            Ok(Some(Frame::Data(bytes))) => {
                self.received += bytes.len() as u64;
                self.since_pause += bytes.len();
                Poll::Ready(Some(Ok(bytes)))
            }
            Ok(Some(Frame::Trailers(_)) | None) => Poll::Ready(None),
            Err(error) => Poll::Ready(Some(Err(error))),
        }
    }
}

/// One part of a form as a body.
struct FieldFrames(Field<'static>);

impl Frames for FieldFrames {
    fn poll_frame(
        &mut self,
        poller: &mut Poller<'_>,
        received: u64,
    ) -> Poll<Result<Option<Frame>, BodyError>> {
        Pin::new(&mut self.0).poll_next(poller).map(|chunk| match chunk {
            None => Ok(None),
            Some(Ok(bytes)) => Ok(Some(Frame::Data(bytes))),
            Some(Err(error)) => Err(body_error(&error, received)),
        })
    }
}

fn body_error(error: &multer::Error, received: u64) -> BodyError {
    match error {
        multer::Error::StreamReadFailed(source) => {
            source.downcast_ref::<BodyError>().cloned().unwrap_or(BodyError::Client { received })
        }
        multer::Error::IncompleteStream
        | multer::Error::IncompleteFieldData { .. }
        | multer::Error::IncompleteHeaders => BodyError::Client { received },
        _ => BodyError::Malformed("the form cannot be read"),
    }
}
