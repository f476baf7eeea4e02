//! As much of S3 as an upload needs, which throws the bytes away: what it takes is its client's alone to answer for. It keeps to
//! `If-None-Match: *`, because ingest looks for that.

use std::{
    collections::HashMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::Incoming,
    header::{CONTENT_LENGTH, ETAG, IF_NONE_MATCH, LAST_MODIFIED},
    service::service_fn,
};

use crate::serving;

/// The metadata of the objects, by their paths.
type Objects = Arc<Mutex<HashMap<String, HeaderMap>>>;

/// Serves until it is ended.
///
/// # Errors
/// When the address is taken.
pub(crate) async fn serve(listen: SocketAddr) -> anyhow::Result<()> {
    let objects = Objects::default();
    serving::serve(listen, service_fn(move |request| answer(request, Arc::clone(&objects)))).await
}

async fn answer(request: Request<Incoming>, objects: Objects) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, mut body) = request.into_parts();
    let (path, query) = (head.uri.path().to_owned(), head.uri.query().unwrap_or_default().to_owned());
    let is_part = query.contains("partNumber");
    let is_taken = head.headers.contains_key(IF_NONE_MATCH) && known(&objects, &path).is_some();
    if is_taken {
        return Ok(plain(StatusCode::PRECONDITION_FAILED, ""));
    }
    while let Some(Ok(frame)) = body.frame().await {
        drop(frame);
    }
    Ok(match head.method {
        Method::PUT if is_part => plain(StatusCode::OK, ""),
        Method::PUT => {
            keep(&objects, path, head.headers);
            plain(StatusCode::OK, "")
        }
        Method::POST if query.starts_with("uploads") => plain(
            StatusCode::OK,
            "<InitiateMultipartUploadResult><UploadId>one</UploadId></InitiateMultipartUploadResult>",
        ),
        Method::POST => {
            keep(&objects, path, HeaderMap::new());
            plain(
                StatusCode::OK,
                "<CompleteMultipartUploadResult><ETag>\"one\"</ETag></CompleteMultipartUploadResult>",
            )
        }
        Method::HEAD => {
            known(&objects, &path).map_or_else(|| plain(StatusCode::NOT_FOUND, ""), |kept| about(&kept))
        }
        // Giving parts up leaves the object alone that is there.
        Method::DELETE if query.contains("uploadId") => plain(StatusCode::NO_CONTENT, ""),
        Method::DELETE => {
            objects.lock().unwrap_or_else(PoisonError::into_inner).remove(&path);
            plain(StatusCode::NO_CONTENT, "")
        }
        _ => plain(
            StatusCode::OK,
            "<ListBucketResult><Name>b</Name><Prefix></Prefix><KeyCount>0</KeyCount><IsTruncated>false</IsTruncated></ListBucketResult>",
        ),
    })
}

fn known(objects: &Objects, path: &str) -> Option<HeaderMap> {
    objects.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned()
}

/// What is kept of an object is what its put said of it.
fn keep(objects: &Objects, path: String, headers: HeaderMap) {
    let kept = headers.into_iter().filter_map(|(name, value)| Some((name?, value)));
    let kept = kept.filter(|(name, _)| name.as_str().starts_with("x-amz-meta-") || name == CONTENT_LENGTH);
    objects.lock().unwrap_or_else(PoisonError::into_inner).insert(path, kept.collect());
}

fn about(kept: &HeaderMap) -> Response<Full<Bytes>> {
    let mut answer = plain(StatusCode::OK, "");
    answer.headers_mut().extend(kept.clone());
    answer
}

fn plain(status: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::from(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(ETAG, hyper::header::HeaderValue::from_static("\"one\""));
    let then = hyper::header::HeaderValue::from_static("Sat, 21 Nov 2026 00:00:00 GMT");
    answer.headers_mut().insert(LAST_MODIFIED, then);
    answer
}
