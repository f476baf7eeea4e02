//! Ingest: takes uploads in, streams them into storage, and puts their jobs on the queue.
//!
//! What happens to an upload is told by five files, top to bottom: `shared/src/http/server.rs`, then here `route.rs`, `admission/mod.rs`,
//! `upload/simple.rs` and `upload/commit.rs`.

pub mod admission;
mod answer;
mod body;
mod decided;
mod deferred;
mod metrics;
mod monitor;
pub mod route;
#[cfg(test)]
mod testing;
mod upload;

use std::sync::Arc;

use headworks_shared::{
    config::Settings,
    http::{Context, Problem, Reply, RequestBody, Routes},
    limits::{Budget, Gate, Steps},
    shutdown::Tasks,
    stack::Stack,
};
use http::Request;

use self::{admission::Admission, deferred::Deferred, metrics::Metrics, route::Route, upload::wants::Wants};

/// The names of ingest's routes, for the metrics.
pub const ROUTES: &[&str] = &["put_file", "post_files", "none"];

/// Takes uploads in.
#[derive(Clone, Debug)]
pub struct Ingest(Arc<App>);

/// What every upload works with.
#[derive(Debug)]
pub(crate) struct App {
    stack: Stack,
    settings: Settings,
    admission: Admission,
    metrics: Metrics,
    budget: Budget,
    deferred: Deferred,
    /// Of bodies on their way into storage.
    steps: Steps,
    /// Runs what must not be cut short when a client goes away.
    tasks: Tasks,
}

impl Ingest {
    /// Sets up intake, and starts the tasks that keep its credits and watch memory and disk.
    pub fn start(stack: &Stack, settings: &Settings, gate: Gate, budget: &Budget, tasks: &Tasks) -> Self {
        let metrics = Metrics::new(&stack.registry);
        let admission = Admission::new(stack, settings, gate, &metrics);
        let app = Arc::new(App {
            stack: stack.clone(),
            settings: settings.clone(),
            admission,
            metrics,
            budget: budget.clone(),
            deferred: Deferred::new(tasks),
            steps: Steps::new(),
            tasks: tasks.clone(),
        });
        app.admission.credits.keep(tasks);
        monitor::start(&app, tasks);
        Self(app)
    }

    /// Hears from the ledger how uploads end that are waited for: their processor is another process.
    pub fn hear_from_the_ledger(stack: &Stack, tasks: &Tasks) {
        let stack = stack.clone();
        tasks.spawn("decided", move |stop| decided::watch(stack, stop));
    }

    /// Answers one request; the route's name is the metric's label.
    pub async fn handle(
        &self,
        request: Request<RequestBody>,
        context: &Context,
    ) -> (&'static str, Result<Reply, Problem>) {
        let (head, body) = request.into_parts();
        let route = Route::of(&head.method, head.uri.path());
        let wants = Wants::of(&head);
        // A head keeps the whole buffer that it was read into, for which a body of hours has no use.
        drop(head);
        match route {
            Ok(Route::PutFile(path)) => {
                ("put_file", upload::simple::put(&self.0, context, path, wants, body).await)
            }
            // Boxed, so that plain uploads do not carry what a form needs.
            Ok(Route::PostFiles) => {
                ("post_files", Box::pin(upload::form::post(&self.0, context, wants, body)).await)
            }
            Err(problem) => ("none", Err(problem.close())),
        }
    }
}

impl Routes for Ingest {
    async fn answer(
        &self,
        request: Request<RequestBody>,
        context: &Context,
    ) -> (&'static str, Result<Reply, Problem>) {
        self.handle(request, context).await
    }
}
