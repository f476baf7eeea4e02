//! The HTTP client below `object_store`: our own, so that a client's frames become the body of a request.
//!
//! A request that carries a client's body asks the store first (`Expect: 100-continue`); as long as the store has taken no byte, a
//! request that failed or was refused for the moment is sent again. All else passes as `object_store` made it.

mod body;
mod client;
mod exchange;
mod said;
mod watchdog;
mod wire;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode,
    header::{EXPECT, USER_AGENT},
    request::Parts,
    uri::Scheme,
};
use hyper::body::Incoming;
use object_store::{
    ClientConfigKey, ClientOptions,
    client::{
        HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody,
        HttpService,
    },
};
use tokio::{
    select,
    time::{sleep, timeout},
};

pub(super) use self::client::{Client, ClientError, FEW, Sizes};
use self::{
    body::{Outgoing, Timed},
    said::Said,
};
use super::{
    call::{Call, Target, Way},
    condition::Condition,
    pipe::Pipe,
    retry::Backoff,
};
use crate::{model::Crc64, resilience::Retries};

/// The longest wait for credentials: their servers are near.
const CREDENTIALS: Duration = Duration::from_secs(5);

const CHECKSUM: HeaderName = HeaderName::from_static("x-amz-checksum-crc64nvme");

/// Makes HTTP clients for `object_store`, all of them over the same connections.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    pub(super) client: Client,
    /// What is the store's own, and not a server of credentials.
    pub(super) bucket: Target,
    pub(super) condition: Condition,
    pub(super) waits: Waits,
    /// Requests under way.
    pub(super) live: Arc<AtomicUsize>,
    pub(super) retries: Retries,
}

/// How long a store may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waits {
    /// Until it answers.
    pub(super) answer: Duration,
    /// Until the parts of a large object are one.
    pub(super) complete: Duration,
    /// Until its next bytes.
    pub(super) stall: Duration,
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let says = options.get_config_value(&ClientConfigKey::AllowHttp);
        Ok(HttpClient::new(Service { connector: self.clone(), plain: says.as_deref() == Some("true") }))
    }
}

/// One client of `object_store`.
#[derive(Debug)]
pub(super) struct Service {
    connector: Connector,
    /// Whether it may go without TLS.
    plain: bool,
}

#[async_trait]
impl HttpService for Service {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        if !self.plain && request.uri().scheme() != Some(&Scheme::HTTPS) {
            return Err(HttpError::new(HttpErrorKind::Unknown, PlainHttp));
        }
        let Some(call) = Call::of(request.uri()) else {
            return self.told(self.outside(request).await, false).await;
        };
        let way = call
            .way(request.method(), request.uri().query(), request.headers())
            .map_err(|error| HttpError::new(HttpErrorKind::Unknown, error))?;
        if call.is_again() {
            self.connector.retries.again();
        }
        let waits = self.connector.waits;
        let once = matches!(way, Way::Once | Way::Piped(_));
        let answered = match way {
            Way::AsItIs | Way::Once => self.whole(request, waits.answer).await,
            Way::CreateOnly => match self.connector.condition.add_to(request).await {
                Ok(request) => self.whole(request, waits.complete).await,
                Err(error) => Err(Failed::Unsigned(error)),
            },
            Way::Piped(pipe) => self.piped(request.into_parts().0, &pipe).await,
        };
        let response = answered.as_ref().ok();
        let status = response.map(Response::status);
        let checksum = response.and_then(|response| checksum(response.headers()));
        call.saw(status, checksum, status.is_none_or(may_pass));
        self.told(answered, once).await
    }
}

impl Service {
    /// A request that no call is about: a listing, an abort, the rest of an object; or credentials.
    async fn outside(&self, request: HttpRequest) -> Result<Response<HttpResponseBody>, Failed> {
        let stores = self.connector.bucket.holds(request.uri());
        let wait = if stores { self.connector.waits.answer } else { CREDENTIALS };
        self.whole(request, wait).await
    }

    async fn whole(
        &self,
        request: HttpRequest,
        wait: Duration,
    ) -> Result<Response<HttpResponseBody>, Failed> {
        let live = Live::enter(&self.connector.live);
        let (head, body) = request.into_parts();
        let (body, sent) = Outgoing::new(body);
        let request = Request::from_parts(named(head), body);
        let mut exchange = std::pin::pin!(self.connector.client.request(request, live.count()));
        // Until it is sent, the connection watches over it.
        let answer = select! {
            answer = &mut exchange => Ok(answer),
            _ = sent => timeout(wait, exchange).await,
        };
        match answer {
            Ok(answer) => Ok(self.timed(answer?, live)),
            Err(_) => Err(NoAnswer(wait).into()),
        }
    }

    /// A request whose body is a client's. As long as the store has taken none of it, it may fail and be sent again.
    async fn piped(&self, head: Parts, pipe: &Pipe) -> Result<Response<HttpResponseBody>, Failed> {
        let mut head = named(head);
        head.headers.insert(EXPECT, HeaderValue::from_static("100-continue"));
        let mut backoff = Backoff::new(&self.connector.retries);
        loop {
            let live = Live::enter(&self.connector.live);
            let answer = self.connector.client.send(&head, pipe, live.count()).await;
            let passing = answer.as_ref().map_or(true, |response| may_pass(response.status()));
            match (passing && pipe.is_untouched()).then(|| backoff.next()).flatten() {
                Some(wait) => {
                    drop((answer, live));
                    sleep(wait).await;
                }
                None => return Ok(answer?.map(HttpResponseBody::from)),
            }
        }
    }

    fn timed(&self, response: Response<Incoming>, live: Live) -> Response<HttpResponseBody> {
        let stall = self.connector.waits.stall;
        response.map(|body| HttpResponseBody::new(Timed::new(body, stall, live)))
    }

    /// Hands an answer over to `object_store`; a refusal with what was said, and not with all of its body. What may go `once` only is
    /// never a refusal to it: it would try again, and be told that the body is gone, and the store's own words would be lost.
    async fn told(
        &self,
        answered: Result<Response<HttpResponseBody>, Failed>,
        once: bool,
    ) -> Result<HttpResponse, HttpError> {
        match answered {
            Ok(response) if is_refusal(response.status()) => {
                let (head, said) = Said::read(response, self.connector.waits.stall).await;
                if once {
                    return Err(HttpError::new(HttpErrorKind::Unknown, said));
                }
                Ok(HttpResponse::from_parts(head, said.to_body().into()))
            }
            Ok(response) => Ok(response),
            Err(error) if once => Err(HttpError::new(HttpErrorKind::Unknown, error)),
            Err(error) => Err(HttpError::new(error.kind(), error)),
        }
    }
}

fn named(mut head: Parts) -> Parts {
    const NAME: &str = concat!("headworks/", env!("CARGO_PKG_VERSION"));
    head.headers.insert(USER_AGENT, HeaderValue::from_static(NAME));
    head
}

/// Whether a refusal may be none a moment later: a server in trouble, too many requests, or another put of the same key.
fn may_pass(status: StatusCode) -> bool {
    let asks_for_patience =
        matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT | StatusCode::CONFLICT);
    asks_for_patience || (status.is_server_error() && status != StatusCode::INSUFFICIENT_STORAGE)
}

fn is_refusal(status: StatusCode) -> bool {
    status.is_client_error() || status.is_server_error()
}

/// What the store says the object's bytes add up to.
fn checksum(headers: &HeaderMap) -> Option<Crc64> {
    let bytes = BASE64.decode(headers.get(CHECKSUM)?).ok()?;
    bytes.try_into().ok().map(|bytes| Crc64(u64::from_be_bytes(bytes)))
}

/// A request under way.
#[derive(Debug)]
pub(super) struct Live(Arc<AtomicUsize>);

impl Live {
    fn enter(live: &Arc<AtomicUsize>) -> Self {
        live.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(live))
    }

    fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A request came to no answer.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Late(#[from] NoAnswer),
    #[error("sign the request anew")]
    Unsigned(#[source] object_store::Error),
}

impl Failed {
    /// Tells `object_store` what it may send again.
    fn kind(&self) -> HttpErrorKind {
        match self {
            Self::Client(ClientError::Connect(_)) => HttpErrorKind::Connect,
            Self::Client(ClientError::Exchange(_)) => HttpErrorKind::Interrupted,
            Self::Late(_) => HttpErrorKind::Timeout,
            Self::Unsigned(_) => HttpErrorKind::Unknown,
        }
    }
}

/// A store did not answer.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("no answer within {0:?}")]
pub(super) struct NoAnswer(pub(super) Duration);

/// The store is to be spoken to in the clear, and nobody said that it may.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("http without TLS is not allowed; AWS_ALLOW_HTTP=true (or GOOGLE_, AZURE_) allows it")]
struct PlainHttp;
