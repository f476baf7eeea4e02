//! `POST /v1/files`: a form with one or more files, streamed one after another, with a result for each.

mod parser;

use std::{future::poll_fn, sync::Arc};

use headworks_shared::{
    http::{Code, Context, Problem, Reply, RequestBody, json},
    model::ObjectPath,
    report::Report,
    storage::{BodyError, PutError, Source},
};
use http::StatusCode;
use serde_json::{Value, json as value};
use tracing::error;

use self::parser::{Parser, Part};
use super::{
    simple::{Ended, one, refuse},
    wants::{Wants, media_type},
};
use crate::{
    App,
    admission::Credit,
    answer::{last, put_problem},
    body::{Announced, Bounds, RequestFrames, UploadBody},
    metrics::{Outcome, Protocol},
};

/// Takes the files of a form in.
pub(crate) async fn post(
    app: &Arc<App>,
    context: &Context,
    wants: Result<Wants, Problem>,
    body: RequestBody,
) -> Result<Reply, Problem> {
    let wants = wants?;
    let boundary = boundary(&wants)?;
    if wants.idempotency_key.is_some() || wants.only_if_absent || wants.announced != Announced::default() {
        let detail =
            "Idempotency-Key, If-None-Match and digests are for one object: use PUT /v1/files/{path}";
        return Err(Problem::new(Code::BadHeader).detail(detail).close());
    }
    let permit = app.admission.permit().await.map_err(|refusal| refuse(app, refusal))?;
    let form = app.admission.form(&app.budget).await;
    let form = form.map_err(|refusal| refuse(app, refusal))?;
    let first = app.admission.credit(wants.priority).await.map_err(|refusal| refuse(app, refusal))?;
    let (app, context) = (Arc::clone(app), context.clone());
    let tasks = app.tasks.clone();
    let upload = async move {
        let _until_answered = (permit, form);
        let unnamed = Bounds::from(&app.settings.ingest);
        let parser = Parser::new(RequestFrames(body), boundary, wants.length, unnamed.timer());
        Form { app: &app, context: &context, wants, unnamed, results: Vec::new(), close: false }
            .take(parser, first)
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

/// The next part of the form; the parts before it were read to their ends.
async fn next(parser: &mut Parser) -> Result<Option<Part>, Problem> {
    parser.next().await.map_err(|error| put_problem(&error.into()).1)
}

/// What a part's head says of its file.
fn head_of(part: &Part) -> Result<(ObjectPath, Option<String>), Problem> {
    let path = part.file_name().unwrap_or_default().parse();
    let path =
        path.map_err(|error| Problem::new(Code::BadPath).detail(format!("the file's name: {error}")))?;
    Ok((path, part.content_type().map(media_type).transpose()?))
}

/// A form on its way in.
struct Form<'a> {
    app: &'a App,
    context: &'a Context,
    wants: Wants,
    /// What all the parts that are passed over may still have together: as much as one object.
    unnamed: Bounds,
    results: Vec<(StatusCode, Value)>,
    /// The rest of the form is not read, so the connection ends with the answer.
    close: bool,
}

impl Form<'_> {
    /// Reads the form. Where it breaks after a file was taken, that is one more result: the client must learn what it has stored.
    async fn take(mut self, parser: Parser, first: Credit) -> Result<Reply, Problem> {
        match self.read(parser, first).await {
            Err(problem) if self.results.is_empty() => return Err(problem),
            Err(problem) => {
                self.close = true;
                self.results.push((problem.code().status(), problem.to_json(&self.context.request_id)));
            }
            Ok(()) => {}
        }
        self.answer()
    }

    async fn read(&mut self, mut parser: Parser, first: Credit) -> Result<(), Problem> {
        let mut credit = Some(first);
        while let Some(part) = next(&mut parser).await? {
            if part.name() != Some("file") {
                self.pass_over(part).await?;
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
                Ok(right) => self.file(part, right).await,
                Err(refusal) => Err((Outcome::Refused, refuse(self.app, refusal))),
            };
            if !self.keep(ended)? {
                self.close = true;
                break;
            }
        }
        Ok(())
    }

    /// Reads a part to its end for nothing.
    async fn pass_over(&mut self, part: Part) -> Result<(), Problem> {
        let mut body = UploadBody::new(part, None, Announced::default(), false, self.unnamed);
        while let Some(chunk) = poll_fn(|poller| body.poll_chunk(poller)).await {
            chunk.map_err(|error| self.not_passed(error))?;
        }
        self.unnamed.max_object = self.unnamed.max_object.saturating_sub(body.seal().size);
        Ok(())
    }

    fn not_passed(&self, error: BodyError) -> Problem {
        let error = match error {
            // The client is told the setting, not what the parts before had left of it.
            BodyError::TooLarge { .. } => {
                BodyError::TooLarge { limit: self.app.settings.ingest.max_object.0 }
            }
            error => error,
        };
        put_problem(&PutError::Body(error)).1
    }

    async fn file(&mut self, part: Part, credit: Credit) -> Ended {
        let (path, content_type) = match head_of(&part) {
            Ok(head) => head,
            Err(problem) => {
                return self.pass_over(part).await.map_or_else(
                    |broken| Err((Outcome::Broken, broken)),
                    |()| Err((Outcome::Rejected, problem)),
                );
            }
        };
        let wants = Wants { content_type, length: None, ..self.wants.clone() };
        one(self.app, self.context, path, &wants, part, credit).await
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
                let readable =
                    matches!(problem.code(), Code::BadPath | Code::BadHeader | Code::DigestMismatch);
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
        let reply = json(status, &value!({ "files": files }));
        Ok(if self.close { last(reply) } else { reply })
    }
}
