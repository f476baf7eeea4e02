//! The admin listener: what operators and their machines ask. Never on a public address.
//!
//! Refuse, don't un-ready: a busy instance stays ready, so that its load is not thrown onto its neighbours. `/readyz` says no only
//! before it has started, which takes until every dependency was seen, and while draining.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body::Body as _;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use crate::{
    clock::Clock,
    http::{Body, Code, Context, Handler, Problem, Reply, RequestBody, json},
    limits::{Gate, Reason, Shutter, read_memory},
    meta,
    queue::{self, JobQueue},
    report::Report,
    stack::{Stack, Stores},
    storage::{self, Blobs},
    telemetry::metrics::Registry,
};

/// The longest wait for one dependency.
const CHECK: Duration = Duration::from_secs(2);

/// The largest body that is read here, in bytes.
const MAX_BODY: usize = 1024;

/// Answers on the admin listener.
#[derive(Debug)]
pub struct Ops {
    registry: Registry,
    gate: Gate,
    seams: OnceLock<Seams>,
}

/// What the process stands on, and can be asked how it is.
#[derive(Clone, Debug)]
pub struct Seams {
    meta: Arc<dyn meta::Store>,
    blobs: Arc<dyn Blobs>,
    queue: Option<Arc<dyn JobQueue>>,
}

impl From<&Stack> for Seams {
    fn from(stack: &Stack) -> Self {
        Self { queue: Some(Arc::clone(&stack.queue)), ..Self::from(&stack.stores()) }
    }
}

impl From<&Stores> for Seams {
    fn from(stores: &Stores) -> Self {
        Self { meta: Arc::clone(&stores.meta), blobs: Arc::clone(&stores.blobs), queue: None }
    }
}

/// One line of `/healthz`.
#[derive(Serialize)]
struct Check {
    name: &'static str,
    ok: bool,
    detail: String,
}

#[derive(Serialize)]
struct Health {
    status: &'static str,
    checks: Vec<Check>,
}

/// What `PUT /v1/gate` takes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GateOrder {
    open: bool,
    #[serde(default)]
    reason: Option<String>,
}

impl Ops {
    /// Tells of a process that has not started yet, and moves its gate.
    pub fn new(registry: &Registry, gate: &Gate) -> Arc<Self> {
        Arc::new(Self { registry: registry.clone(), gate: gate.clone(), seams: OnceLock::new() })
    }

    /// The process has started, and stands on these.
    pub fn started(&self, seams: impl Into<Seams>) {
        // It starts once.
        drop(self.seams.set(seams.into()));
    }

    async fn answer(&self, request: Request<RequestBody>) -> Result<Reply, Problem> {
        let (head, body) = request.into_parts();
        match (&head.method, head.uri.path()) {
            (&Method::GET | &Method::HEAD, "/livez") => {
                Ok(json(StatusCode::OK, &serde_json::json!({ "status": "ok" })))
            }
            (&Method::GET | &Method::HEAD, "/readyz") => Ok(self.ready()),
            (&Method::GET | &Method::HEAD, "/healthz") => Ok(self.health().await),
            (&Method::GET | &Method::HEAD, "/metrics") => Ok(self.metrics()),
            (&Method::GET | &Method::HEAD, "/v1/gate") => Ok(self.show_gate()),
            (&Method::PUT, "/v1/gate") => self.move_gate(body).await,
            (_, "/v1/gate") => Err(Problem::new(Code::MethodNotAllowed).allow("GET, PUT")),
            (_, "/livez" | "/readyz" | "/healthz" | "/metrics") => {
                Err(Problem::new(Code::MethodNotAllowed).allow("GET"))
            }
            _ => Err(Problem::new(Code::NotFound)
                .detail("this listener knows /livez, /readyz, /healthz, /metrics and /v1/gate")),
        }
    }

    fn ready(&self) -> Reply {
        let draining = self.gate.is_shut_for(Reason::Drain);
        let checks = vec![
            self.has_started(),
            Check {
                name: "draining",
                ok: !draining,
                detail: if draining { "stopping" } else { "no" }.to_owned(),
            },
        ];
        health(checks)
    }

    fn has_started(&self) -> Check {
        let ok = self.seams.get().is_some();
        let detail =
            if ok { "everything it stands on was opened" } else { "not yet; the log says what is missing" };
        Check { name: "started", ok, detail: detail.to_owned() }
    }

    async fn health(&self) -> Reply {
        let mut checks = match self.seams.get() {
            Some(seams) => seams.checks().await,
            None => vec![self.has_started()],
        };
        let memory = read_memory();
        let memory = Check {
            name: "memory",
            ok: !self.gate.is_shut_for(Reason::Memory),
            detail: format!(
                "{} of {} bytes in use ({:.1} %)",
                memory.used,
                memory.limit,
                memory.ratio() * 100.0
            ),
        };
        checks.push(memory);
        health(checks)
    }

    fn metrics(&self) -> Reply {
        let mut reply = Response::new(Body::full(self.registry.render()));
        let format = http::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        reply.headers_mut().insert(header::CONTENT_TYPE, format);
        reply
    }

    fn show_gate(&self) -> Reply {
        let shut: Vec<_> = Reason::ALL
            .into_iter()
            .filter(|reason| self.gate.is_shut_for(*reason))
            .map(Reason::as_str)
            .collect();
        json(StatusCode::OK, &serde_json::json!({ "open": shut.is_empty(), "shut": shut }))
    }

    async fn move_gate(&self, body: RequestBody) -> Result<Reply, Problem> {
        let rule = "send {\"open\": false} to pause intake, {\"open\": true} to go on";
        let bad = || Problem::new(Code::BadBody).detail(rule);
        let bytes = timeout(CHECK, small(body)).await.ok().flatten().ok_or_else(bad)?;
        let order: GateOrder = serde_json::from_slice(&bytes).map_err(|_| bad())?;
        if order.reason.is_some_and(|reason| reason != Reason::Operator.as_str()) {
            return Err(
                Problem::new(Code::BadBody).detail("the only reason that is moved by hand is \"operator\"")
            );
        }
        let to = if order.open { Shutter::Open } else { Shutter::Shut };
        self.gate.set(Reason::Operator, to, "by hand");
        Ok(self.show_gate())
    }
}

impl Handler for Ops {
    async fn handle(&self, request: Request<RequestBody>) -> Reply {
        let context = Context::of(request.headers(), &Clock::system());
        context.answer(self.answer(request).await)
    }
}

impl Seams {
    async fn checks(&self) -> Vec<Check> {
        let queue = async {
            match &self.queue {
                Some(queue) => Some(check("queue", full(&**queue)).await),
                None => None,
            }
        };
        let dead = async { self.meta.dead_count().await.map(|dead| format!("{dead} dead letters")) };
        let (metadata, queue, storage) =
            tokio::join!(check("metadata", dead), queue, check("storage", free(&*self.blobs)));
        [Some(metadata), queue, Some(storage)].into_iter().flatten().collect()
    }
}

async fn full(queue: &dyn JobQueue) -> Result<String, queue::Error> {
    let depth = queue.depth().await?;
    let count = |states: [usize; 3]| states.iter().sum::<usize>();
    Ok(format!(
        "{} ready, {} in flight, {} delayed, {} credits held",
        count(depth.ready),
        count(depth.in_flight),
        count(depth.delayed),
        count(depth.credited)
    ))
}

async fn free(blobs: &dyn Blobs) -> Result<String, storage::Error> {
    let free = blobs.health().await?.free_ratio;
    Ok(free.map_or_else(|| "reachable".to_owned(), |free| format!("{:.1} % free", free * 100.0)))
}

async fn check<E: std::error::Error + 'static>(
    name: &'static str,
    answer: impl Future<Output = Result<String, E>>,
) -> Check {
    match timeout(CHECK, answer).await {
        Ok(Ok(detail)) => Check { name, ok: true, detail },
        Ok(Err(error)) => Check { name, ok: false, detail: Report(&error).to_string() },
        Err(_) => Check { name, ok: false, detail: format!("no answer within {CHECK:?}") },
    }
}

fn health(checks: Vec<Check>) -> Reply {
    let ok = checks.iter().all(|check| check.ok);
    let status = if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json(status, &Health { status: if ok { "ok" } else { "not ok" }, checks })
}

/// A small body as a whole; `None` when it is not small, or breaks off.
async fn small(mut body: RequestBody) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let data: Bytes = frame.ok()?.into_data().unwrap_or_default();
        if bytes.len() + data.len() > MAX_BODY {
            return None;
        }
        bytes.extend_from_slice(&data);
    }
    Some(bytes)
}
