//! One POST to a receiver: signed, traced, within a time, without redirects, and with an answer that is read only so far.

use std::{io, time::Duration};

use bytes::Bytes;
use headworks_shared::{
    http::retry_after,
    meta::Delivery,
    model::{Timestamp, TraceContext},
    report::Report,
};
use http::{
    HeaderValue, Request,
    header::{CONTENT_TYPE, USER_AGENT},
};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{self, Builder},
    rt::{TokioExecutor, TokioTimer},
};
use serde::Deserialize;
use tokio::time::timeout;

use super::{address::Connector, endpoint::Endpoint, schedule::Answer};

/// How much of an answer is read, so that its connection can be used again; what is longer costs the connection.
const MAX_ANSWER_BYTES: usize = 64 << 10;

/// How long a connection is kept for the next delivery.
const IDLE: Duration = Duration::from_secs(30);

type Body = Full<Bytes>;

/// Sends deliveries. Redirects are not followed: their target was never checked, and a signature is for one receiver.
#[derive(Clone, Debug)]
pub(super) enum Client {
    /// For `http` and `https`.
    Tls(legacy::Client<HttpsConnector<Connector>, Body>),
    /// For `http` alone: no root certificates are needed.
    Plain(legacy::Client<Connector, Body>),
}

impl Client {
    /// # Errors
    /// When `tls` is asked for, and the machine has no root certificates.
    pub(super) fn new(allow_private: bool, idle_connections: usize, tls: bool) -> io::Result<Self> {
        let connector = Connector { allow_private };
        let mut builder: Builder = legacy::Client::builder(TokioExecutor::new());
        builder
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(idle_connections);
        if !tls {
            return Ok(Self::Plain(builder.build(connector)));
        }
        let connector = HttpsConnectorBuilder::new()
            .with_native_roots()?
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        Ok(Self::Tls(builder.build(connector)))
    }

    /// Tries once; the answer, and what went wrong in a few words.
    pub(super) async fn post(
        &self,
        endpoint: &Endpoint,
        delivery: &Delivery,
        at: Timestamp,
        limit: Duration,
    ) -> (Answer, Option<String>) {
        match timeout(limit, self.exchange(endpoint, delivery, at)).await {
            Ok(Ok(answer @ Answer::Status { code: 200..=299, .. })) => (answer, None),
            Ok(Ok(answer @ Answer::Status { code, .. })) => (answer, Some(format!("answered {code}"))),
            Ok(Ok(answer @ Answer::None)) => (answer, None),
            Ok(Err(error)) => (Answer::None, Some(Report(&error).to_string())),
            Err(_) => (Answer::None, Some(format!("no answer within {limit:?}"))),
        }
    }

    async fn exchange(
        &self,
        endpoint: &Endpoint,
        delivery: &Delivery,
        at: Timestamp,
    ) -> Result<Answer, TryError> {
        let request = request(endpoint, delivery, at)?;
        let response = match self {
            Self::Tls(client) => client.request(request).await,
            Self::Plain(client) => client.request(request).await,
        };
        let (head, body) = response.map_err(TryError::Exchange)?.into_parts();
        let answer =
            Answer::Status { code: head.status.as_u16(), retry_after: retry_after(&head.headers, at) };
        throw_away(body).await;
        Ok(answer)
    }
}

fn request(endpoint: &Endpoint, delivery: &Delivery, at: Timestamp) -> Result<Request<Body>, TryError> {
    let id = delivery.event.to_string();
    let signature = endpoint.secret.sign(&id, at, delivery.payload.as_bytes());
    let mut request = Request::post(endpoint.uri.clone())
        .header(CONTENT_TYPE, HeaderValue::from_static("application/cloudevents+json"))
        .header(USER_AGENT, HeaderValue::from_static(concat!("headworks/", env!("CARGO_PKG_VERSION"))))
        .header("webhook-id", id)
        .header("webhook-timestamp", at.unix_seconds())
        .header("webhook-signature", signature);
    let origin: Origin = serde_json::from_str(&delivery.payload).unwrap_or_default();
    if let Some(trace) = origin.traceparent {
        request = request.header("traceparent", trace.child(fastrand::u64(..)).to_string());
    }
    if let Some(id) = origin.requestid {
        request = request.header("x-request-id", id);
    }
    Ok(request.body(Full::from(delivery.payload.clone()))?)
}

/// The request that the event goes back to.
#[derive(Default, Deserialize)]
struct Origin {
    traceparent: Option<TraceContext>,
    requestid: Option<String>,
}

/// Reads a short answer to its end; the status was all that counts, so an answer that breaks off is fine too.
async fn throw_away(mut body: Incoming) {
    let mut read = 0;
    while let Some(Ok(frame)) = body.frame().await {
        read += frame.data_ref().map_or(0, Bytes::len);
        if read > MAX_ANSWER_BYTES {
            return;
        }
    }
}

/// A try came to no answer.
#[derive(Debug, thiserror::Error)]
enum TryError {
    /// The request cannot be made.
    #[error("make the request")]
    Request(#[from] http::Error),
    /// There was no connection, or it broke.
    #[error("reach the receiver")]
    Exchange(#[source] legacy::Error),
}
