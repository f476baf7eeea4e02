//! A receiver of webhooks, by the Standard Webhooks spec (<https://github.com/standard-webhooks/standard-webhooks>), with its own
//! check of signatures.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    convert::Infallible,
    net::SocketAddr,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderMap, Request, Response};
use http_body::Body as _;
use http_body_util::Empty;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use sha2::Sha256;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::{Config, DEADLINE, until};

/// The key of all receivers here.
const KEY: [u8; 32] = *b"thirty-two bytes, and not a more";

/// A receiver that listens until it is dropped.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    heard: Arc<Heard>,
    _server: JoinSet<()>,
}

#[derive(Debug, Default)]
struct Heard {
    deliveries: Mutex<Vec<Delivery>>,
    /// What is answered to the next tries; then 204.
    plan: Mutex<VecDeque<u16>>,
}

/// One try to deliver.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Its fields.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// What was answered.
    pub answered: u16,
}

impl Receiver {
    /// Listens on a free port; answers the first tries as planned, and all others with 204.
    ///
    /// # Errors
    /// When there is no port.
    pub async fn start(plan: &[u16]) -> Result<Self> {
        Self::listen(TcpListener::bind("127.0.0.1:0").await?, plan)
    }

    /// Listens where a receiver listened before.
    ///
    /// # Errors
    /// When the address is taken.
    pub async fn start_again(address: SocketAddr) -> Result<Self> {
        Self::listen(TcpListener::bind(address).await?, &[])
    }

    fn listen(listener: TcpListener, plan: &[u16]) -> Result<Self> {
        let address = listener.local_addr()?;
        let heard = Arc::new(Heard::default());
        lock(&heard.plan).extend(plan);
        let mut server = JoinSet::new();
        server.spawn(accept(listener, Arc::clone(&heard)));
        Ok(Self { address, heard, _server: server })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The settings with this receiver in them, for these events, or all when there are none.
    pub fn wired(address: SocketAddr, config: Config, events: &[&str]) -> Config {
        config.set("notify.webhooks", Self::setting(address, events)).set("notify.allow_private", true)
    }

    /// The value of `notify.webhooks` with the receiver at `address` in it, for these events, or all when there are none.
    pub fn setting(address: SocketAddr, events: &[&str]) -> String {
        let (url, secret) = (format!("http://{address}/hook"), format!("whsec_{}", BASE64.encode(KEY)));
        format!("[{{ url = {url:?}, secret = {secret:?}, events = {events:?} }}]")
    }

    /// All tries so far, in the order they came.
    pub fn deliveries(&self) -> Vec<Delivery> {
        lock(&self.heard.deliveries).clone()
    }

    /// The tries that were answered with 2xx, until there are as many as wanted.
    ///
    /// # Errors
    /// When there are fewer at the deadline.
    pub async fn delivered(&self, count: usize) -> Result<Vec<Delivery>> {
        let taken = async || {
            let all = self.deliveries();
            Ok(all.into_iter().filter(|delivery| delivery.answered < 300).collect::<Vec<_>>())
        };
        until("deliveries", DEADLINE, taken, |taken| taken.len() >= count).await
    }

    /// How many ids were heard, whatever came with them.
    pub fn ids_heard(&self) -> usize {
        let deliveries = lock(&self.heard.deliveries);
        let ids: HashSet<_> = deliveries.iter().filter_map(|one| one.headers.get("webhook-id")).collect();
        ids.len()
    }

    /// The ids of events by (object, event type): there must never be two.
    ///
    /// # Errors
    /// When a delivery is no CloudEvent.
    pub fn event_ids(&self) -> Result<HashMap<(String, String), HashSet<String>>> {
        let mut ids: HashMap<_, HashSet<String>> = HashMap::new();
        for delivery in self.deliveries() {
            let event = delivery.event()?;
            let text = |member: &str| event[member].as_str().unwrap_or_default().to_owned();
            ids.entry((text("subject"), text("type"))).or_default().insert(text("id"));
        }
        Ok(ids)
    }
}

impl Delivery {
    /// The event, of a delivery whose signature is right and whose id is the event's.
    ///
    /// # Errors
    /// When it is no such delivery.
    pub fn event(&self) -> Result<Value> {
        let field = |name: &str| -> Result<&str> {
            Ok(self.headers.get(name).with_context(|| format!("no {name} in {self:?}"))?.to_str()?)
        };
        let (id, time) = (field("webhook-id")?, field("webhook-timestamp")?);
        let right = signature(&KEY, id, time, &self.body)?;
        let signatures = field("webhook-signature")?;
        ensure!(signatures.split(' ').any(|one| one == right), "signature {signatures}, not {right}");
        let event: Value = serde_json::from_slice(&self.body)?;
        ensure!(event["specversion"] == "1.0" && event["id"] == id, "webhook-id {id} of {event}");
        Ok(event)
    }
}

/// The signature that a delivery must have.
fn signature(key: &[u8], id: &str, time: &str, body: &[u8]) -> Result<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key)?;
    mac.update(format!("{id}.{time}.").as_bytes());
    mac.update(body);
    Ok(format!("v1,{}", BASE64.encode(mac.finalize().into_bytes())))
}

async fn accept(listener: TcpListener, heard: Arc<Heard>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(connections.spawn(connection(stream, Arc::clone(&heard)))),
                Err(_) => return,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(stream: TcpStream, heard: Arc<Heard>) {
    let service = service_fn(move |request| answer(request, Arc::clone(&heard)));
    // A connection that breaks off shows as a delivery that is missing.
    drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
}

async fn answer(request: Request<Incoming>, heard: Arc<Heard>) -> Result<Response<Empty<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let mut body = pin!(body);
    let mut content = Vec::new();
    while let Some(Ok(frame)) = std::future::poll_fn(|context| body.as_mut().poll_frame(context)).await {
        content.extend(frame.into_data().unwrap_or_default());
    }
    let status = lock(&heard.plan).pop_front().unwrap_or(204);
    let delivery = Delivery { headers: head.headers, body: content.into(), answered: status };
    lock(&heard.deliveries).push(delivery);
    let mut response = Response::new(Empty::new());
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
    Ok(response)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the reference libraries:
    /// <https://github.com/standard-webhooks/standard-webhooks/blob/main/libraries/python/tests/test_webhooks.py>
    #[test]
    fn signs_as_the_reference_does() {
        let key = BASE64.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let body = br#"{"test": 2432232314}"#;
        let signed = signature(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", body).unwrap();
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[tokio::test]
    async fn a_delivery_that_is_not_signed_is_no_event() {
        let receiver = Receiver::start(&[503]).await.unwrap();
        let call = || crate::Client::new(receiver.address()).call(http::Method::POST, "/hook").body("{}");
        assert_eq!(call().send().await.unwrap().status, 503);
        assert_eq!(call().header("webhook-id", "1").send().await.unwrap().status, 204);
        assert_eq!(receiver.delivered(1).await.unwrap().len(), 1);
        assert!(receiver.deliveries()[1].event().is_err());
    }
}
