//! Credentials that expire at once, so that they are fetched in the middle of every put: whoever asks for them must not be given the
//! client's body. Their servers are fakes on this machine; the store is real.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use futures_util::future::try_join_all;
use headworks_shared::{
    limits::Budget,
    storage::{
        Blobs as _,
        cloud::{CloudBlobs, Options},
        conformance::{self, Body, content, envelope, frames, key},
    },
};
use headworks_tests::servers::s3::{KEY, S3};
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, task::JoinSet};

use super::s3::{PART, PLENTY, options, url};

/// A body of known length above this goes by parts.
const LIMIT: u64 = 6 << 20;

/// A server of credentials, and what it was asked.
#[derive(Debug)]
struct Fake {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    _server: JoinSet<()>,
}

/// One request: its method, its path, and how many bytes came with it.
type Asked = (Method, String, usize);

impl Fake {
    async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (address, asked) = (listener.local_addr()?, Arc::default());
        let (mut server, heard) = (JoinSet::new(), Arc::clone(&asked));
        server.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let heard = Arc::clone(&heard);
                let service = service_fn(move |request| answer(request, Arc::clone(&heard)));
                let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                connections.spawn(async move { drop(connection.await) });
            }
        });
        Ok(Self { address, asked, _server: server })
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().map(|asked| asked.clone()).unwrap_or_default()
    }
}

async fn answer(
    request: Request<Incoming>,
    heard: Arc<Mutex<Vec<Asked>>>,
) -> Result<Response<Full<Bytes>>, std::convert::Infallible> {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    let mut body = Limited::new(body, 1 << 20);
    let mut bytes = 0;
    while let Some(Ok(frame)) = body.frame().await {
        bytes += frame.data_ref().map_or(0, Bytes::len);
    }
    if let Ok(mut heard) = heard.lock() {
        heard.push((head.method, path.clone(), bytes));
    }
    let (id, secret) = KEY;
    let text = match path.as_str() {
        "/latest/api/token" => "a-token".to_owned(),
        "/latest/meta-data/iam/security-credentials/" => "a-role".to_owned(),
        // They have expired by the time that they are here.
        _ => serde_json::json!({
            "AccessKeyId": id, "SecretAccessKey": secret, "Token": "", "Expiration": "2020-01-01T00:00:00Z",
        })
        .to_string(),
    };
    Ok(Response::new(Full::from(text)))
}

/// A body for each way that bytes go: whole, streamed, in parts that are streamed, in parts that are held.
fn bodies() -> [(&'static str, Bytes, bool); 5] {
    let planned = usize::try_from(LIMIT).unwrap_or_default() + 1;
    [
        ("whole", content(1000, 1), true),
        ("whole, of unknown length", content(1000, 2), false),
        ("streamed", content(1 << 20, 3), true),
        ("in streamed parts", content(planned, 4), true),
        ("in held parts", content(PART + 70_000, 5), false),
    ]
}

/// Puts one body after another. Puts at the same time would share what one of them has fetched: so it is made sure of each that
/// credentials were fetched in the very call that carried its bytes.
async fn put_each(fake: &Fake, mut options: Options, server: &S3) -> Result<()> {
    options.single_put_limit = LIMIT;
    let store = CloudBlobs::open(&url(), options, Budget::new(PLENTY)).await?;
    for (way, content, known) in bodies() {
        let (key, before) = (key(), fake.asked().len());
        let mut body = Body::new(frames(&content, &[16 << 10]));
        if known {
            body = body.announcing(content.len());
        }
        store.put(&key, &envelope("a"), &mut body).await.with_context(|| way)?;
        // One request makes a whole or a streamed object; begin, two parts and complete make one of parts.
        let (asked, requests) = (fake.asked().len() - before, if way.contains("parts") { 4 } else { 1 });
        ensure!(asked >= requests, "{way}: {requests} requests, and credentials were fetched {asked} times");
        let (_, back) = conformance::read(&store, &key, None).await?;
        ensure!(back == content, "{way}: {} bytes came back other than they were put", content.len());
    }
    for (method, path, bytes) in fake.asked() {
        ensure!(bytes == 0, "{method} {path} was sent {bytes} bytes");
    }
    ensure!(
        server.objects()?.len() == bodies().len() + 1 && server.unfinished()? == 0,
        "they, and the sentinel"
    );
    Ok(())
}

/// Puts many bodies at the same time.
async fn put_together(fake: &Fake, options: Options) -> Result<()> {
    let store = CloudBlobs::open(&url(), options, Budget::new(PLENTY)).await?;
    let puts = (0..20).map(|seed| (content(200_000, seed), &store)).map(async |(content, store)| {
        let key = key();
        store.put(&key, &envelope("a"), &mut Body::of(&content)).await?;
        ensure!(conformance::read(store, &key, None).await?.1 == content, "other bytes came back");
        Ok(())
    });
    try_join_all(puts).await?;
    ensure!(fake.asked().iter().all(|(_, _, bytes)| *bytes == 0), "{:?}", fake.asked());
    Ok(())
}

fn without_keys(server: &S3) -> Options {
    let mut options = options(server.address());
    options.variables.retain(|(name, _)| !name.contains("KEY"));
    options
}

fn variable(name: &str, value: impl Into<String>) -> (String, String) {
    (name.to_owned(), value.into())
}

#[tokio::test]
async fn an_instances_credentials_are_fetched_amid_puts_and_get_no_body() -> Result<()> {
    let (server, fake) = (S3::start().await?, Fake::start().await?);
    let mut options = without_keys(&server);
    options.variables.push(variable("AWS_METADATA_ENDPOINT", format!("http://{}", fake.address)));
    put_each(&fake, options.clone(), &server).await?;
    put_together(&fake, options).await?;
    let puts = fake.asked().iter().filter(|(method, ..)| *method == Method::PUT).count();
    ensure!(puts > 4, "its tokens are put, as objects are; there were {puts}");
    Ok(())
}

#[tokio::test]
async fn a_containers_credentials_are_fetched_amid_puts_and_get_no_body() -> Result<()> {
    let (server, fake) = (S3::start().await?, Fake::start().await?);
    let token = tempfile::NamedTempFile::new()?;
    std::fs::write(token.path(), "a-token")?;
    let mut options = without_keys(&server);
    options.variables.extend([
        variable("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("http://{}/credentials", fake.address)),
        variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token.path().to_string_lossy()),
    ]);
    put_each(&fake, options.clone(), &server).await?;
    put_together(&fake, options).await
}
