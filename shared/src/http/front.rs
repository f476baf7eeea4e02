//! A public listener: every request gets its context, an answer or a problem, and is counted under its route.

use http::Request;
use tokio::time::Instant;

use super::{Context, Handler, Metrics, Problem, Reply, RequestBody};
use crate::{clock::Clock, telemetry::metrics::Registry};

/// Answers requests by their routes, whose names label the metrics.
pub trait Routes: Send + Sync + 'static {
    /// The answer, and the route's name.
    fn answer(
        &self,
        request: Request<RequestBody>,
        context: &Context,
    ) -> impl Future<Output = (&'static str, Result<Reply, Problem>)> + Send;
}

/// A listener in front of `R`.
#[derive(Debug)]
pub struct Front<R> {
    routes: R,
    clock: Clock,
    metrics: Metrics,
}

impl<R: Routes> Front<R> {
    /// Registers the metrics of the routes named `names`, so there is one for each registry.
    pub fn new(routes: R, names: &[&str], clock: &Clock, registry: &Registry) -> Self {
        Self { routes, clock: clock.clone(), metrics: Metrics::new(registry, names) }
    }
}

impl<R: Routes> Handler for Front<R> {
    async fn handle(&self, request: Request<RequestBody>) -> Reply {
        let begun = Instant::now();
        let context = Context::of(request.headers(), &self.clock);
        let (route, result) = self.routes.answer(request, &context).await;
        let problem = result.as_ref().err().map(Problem::code);
        let reply = context.answer(result);
        self.metrics.answered(route, reply.status(), problem, begun.elapsed());
        reply
    }

    fn turned_away(&self) {
        self.metrics.turned_away();
    }
}
