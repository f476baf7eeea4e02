//! A receiver of webhooks on 127.0.0.1: keeps what it gets and answers as it is told.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures_util::stream;
use headworks_shared::shutdown::{Stop, Tasks};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// What was received.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Received {
    /// A header that must be there.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name} in {:?}", self.headers)).to_str().unwrap()
    }
}

/// How to answer.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// With a status.
    Status(u16),
    /// With a status and a header.
    With(u16, &'static str, String),
    /// 200, and a body without end.
    Endless,
    /// Never.
    Silence,
}

/// The receiver; goes away when dropped.
#[derive(Debug)]
pub(crate) struct Receiver {
    pub(crate) port: u16,
    received: Arc<Mutex<Vec<Received>>>,
    tasks: Tasks,
}

impl Receiver {
    /// Answers the first request with the first reply, and so on; all after the last with the last.
    pub(crate) async fn start(replies: impl IntoIterator<Item = Reply>) -> Self {
        let replies: Arc<Vec<Reply>> = Arc::new(replies.into_iter().collect());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (received, tasks) = (Arc::default(), Tasks::new(Stop::new()));
        let receiver = Self { port, received: Arc::clone(&received), tasks: tasks.clone() };
        receiver.tasks.spawn("receiver", |stop| async move {
            while let Some(Ok((stream, _))) = stop.run_until_cancelled(listener.accept()).await {
                let (received, replies) = (Arc::clone(&received), Arc::clone(&replies));
                let service =
                    service_fn(move |request| answer(request, Arc::clone(&received), Arc::clone(&replies)));
                tasks.spawn("connection", |stop| async move {
                    let serve = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                    stop.run_until_cancelled(serve).await.map(Result::ok);
                });
            }
        });
        receiver
    }

    /// Its address, by name or number.
    pub(crate) fn url(&self, host: &str) -> String {
        format!("http://{host}:{}/hook", self.port)
    }

    /// All that was received.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.tasks.stop().cancel();
    }
}

async fn answer(
    request: Request<Incoming>,
    received: Arc<Mutex<Vec<Received>>>,
    replies: Arc<Vec<Reply>>,
) -> Result<Response<UnsyncBoxBody<Bytes, Infallible>>, Infallible> {
    let (head, mut incoming) = request.into_parts();
    let mut body = Vec::new();
    while let Some(frame) = incoming.frame().await {
        body.extend_from_slice(frame.unwrap().data_ref().unwrap());
    }
    let number = {
        let mut received = received.lock().unwrap();
        received.push(Received {
            path: head.uri.path().to_owned(),
            headers: head.headers,
            body: body.into(),
        });
        received.len() - 1
    };
    let empty = || Full::default().boxed_unsync();
    let response = match replies.get(number).or(replies.last()).cloned().unwrap_or(Reply::Status(200)) {
        Reply::Status(code) => Response::builder().status(code).body(empty()),
        Reply::With(code, name, value) => Response::builder().status(code).header(name, value).body(empty()),
        Reply::Endless => {
            let chunks = stream::repeat_with(|| Ok(Frame::data(Bytes::from_static(&[b'x'; 4096]))));
            Response::builder().body(StreamBody::new(chunks).boxed_unsync())
        }
        Reply::Silence => std::future::pending().await,
    };
    Ok(response.unwrap())
}
