//! The peer: a server that gives each body to `object_store`'s own `WriteMultipart`, as its documentation shows, and waits for room
//! whenever a part is on its way. It queues nothing and checks nothing.

use std::{convert::Infallible, net::SocketAddr, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use headworks_tests::servers::s3::BUCKET;
use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, Response, StatusCode, body::Incoming, service::service_fn};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector as TcpConnector},
    rt::TokioExecutor,
};
use object_store::{
    ClientOptions, ObjectStore, ObjectStoreExt as _, WriteMultipart,
    aws::AmazonS3Builder,
    client::{
        HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse,
        HttpResponseBody, HttpService,
    },
    path::Path,
};

use crate::serving;

/// Parts of one body that may be on their way at once: the least that there can be.
const PARTS: usize = 1;

/// Serves until it is ended; the store is told by the environment (`AWS_*`).
///
/// # Errors
/// When the address is taken, or the environment names no store.
pub(crate) async fn serve(listen: SocketAddr) -> anyhow::Result<()> {
    let builder = AmazonS3Builder::from_env().with_bucket_name(BUCKET).with_http_connector(Connector);
    let store: Arc<dyn ObjectStore> = Arc::new(builder.build()?);
    serving::serve(listen, service_fn(move |request| answer(request, Arc::clone(&store)))).await
}

async fn answer(
    request: Request<Incoming>,
    store: Arc<dyn ObjectStore>,
) -> Result<Response<Empty<Bytes>>, Infallible> {
    let mut answer = Response::new(Empty::new());
    *answer.status_mut() = match write(request, &*store).await {
        Ok(()) => StatusCode::CREATED,
        Err(_) => StatusCode::BAD_GATEWAY,
    };
    Ok(answer)
}

async fn write(request: Request<Incoming>, store: &dyn ObjectStore) -> anyhow::Result<()> {
    let path = Path::parse(request.uri().path())?;
    let mut body = request.into_body();
    let mut write = WriteMultipart::new(store.put_multipart(&path).await?);
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            write.wait_for_capacity(PARTS).await?;
            write.put(data);
        }
    }
    write.finish().await?;
    Ok(())
}

/// `object_store`'s requests over hyper's pool.
#[derive(Debug)]
struct Connector;

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        let mut connector = TcpConnector::new();
        connector.set_nodelay(true);
        let client = legacy::Client::builder(TokioExecutor::new()).build(connector);
        Ok(HttpClient::new(Service(client)))
    }
}

#[derive(Debug)]
struct Service(legacy::Client<TcpConnector, HttpRequestBody>);

#[async_trait]
impl HttpService for Service {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let answer = self.0.request(request).await;
        let answer = answer.map_err(|error| HttpError::new(HttpErrorKind::Unknown, error))?;
        Ok(answer.map(|body| {
            HttpResponseBody::new(body.map_err(|error| HttpError::new(HttpErrorKind::Interrupted, error)))
        }))
    }
}
