//! Credentials that expire at once, so that they are fetched in the middle of every put: whoever asks for them must not be given the
//! client's body. Their servers are fakes on this machine; the store is real.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use anyhow::Result;
use anyhow::ensure;
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
) -> Result<Response<Full<bytes::Bytes>>, std::convert::Infallible> {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    let mut body = Limited::new(body, 1 << 20);
    let mut bytes = 0;
    while let Some(Ok(frame)) = body.frame().await {
        bytes += frame.data_ref().map_or(0, bytes::Bytes::len);
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

/// Puts bodies of every kind, many at once, and looks at what came of them and at what the server of credentials was sent.
async fn put_all(fake: &Fake, options: Options, server: &S3) -> Result<()> {
    let store = CloudBlobs::open(&url(), options, Budget::new(PLENTY)).await?;
    let before = fake.asked().len();
    ensure!(before > 0, "the probe asked for no credentials");
    let sizes = [1000, 200_000, 1 << 20, PART + 70_000];
    let puts = (0..4).flat_map(|seed| sizes.map(|size| (content(size, seed), seed % 2 == 0)));
    let puts = puts.map(async |(content, known)| {
        let key = key();
        let mut body = Body::new(frames(&content, &[16 << 10]));
        if known {
            body = body.announcing(content.len());
        }
        store.put(&key, &envelope("a"), &mut body).await?;
        let (_, back) = conformance::read(&store, &key, None).await?;
        ensure!(back == content, "{} bytes came back other than they were put", content.len());
        anyhow::Ok(())
    });
    try_join_all(puts).await?;
    let asked = fake.asked();
    ensure!(asked.len() > before + 4, "credentials were fetched {} times", asked.len() - before);
    for (method, path, bytes) in asked {
        ensure!(bytes == 0, "{method} {path} was sent {bytes} bytes");
    }
    ensure!(server.objects()?.len() == 16 && server.unfinished()? == 0);
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
    put_all(&fake, options, &server).await?;
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
    put_all(&fake, options, &server).await
}
