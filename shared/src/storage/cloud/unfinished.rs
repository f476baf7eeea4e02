//! Finds S3 uploads that nobody will complete, left behind by processes that crashed, and aborts them. `object_store` cannot list
//! them, so the request is signed here.

use std::time::Duration;

use http::{Method, StatusCode};
use object_store::{
    aws::AwsAuthorizer,
    client::{HttpRequest, HttpRequestBody},
    multipart::MultipartStore as _,
    path::Path,
};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use tokio::time::timeout;

use super::{
    PATIENCE,
    answer::{Told, unavailable},
    http::NoAnswer,
    provider::{Provider, S3},
    xml::element,
};
use crate::{
    clock::Clock,
    model::Timestamp,
    storage::{Cause, Error, Key},
};

/// The most pages that are read at once: what is left is found by the next sweep.
const PAGES: usize = 100;

/// One upload that was begun and not completed.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Upload {
    key: String,
    id: String,
    begun: Timestamp,
}

/// Where the next page begins.
type Marker = Option<(String, String)>;

/// Aborts uploads that were begun `idle` ago or earlier, and says how many there were. S3 does not say when a part came last; no
/// upload takes longer than a sweep looks back.
pub(super) async fn sweep(provider: &Provider, s3: &S3, idle: Duration) -> Result<u64, Error> {
    let failed =
        |source: Cause| Error::Unavailable { verb: "sweep", subject: "unfinished uploads".into(), source };
    let oldest = Clock::system().now().before(idle);
    let (mut swept, mut marker) = (0, None);
    for _ in 0..PAGES {
        let page = timeout(PATIENCE, page(provider, s3, &marker)).await;
        let text = page.map_err(|_| failed(std::sync::Arc::new(NoAnswer(PATIENCE))))?.map_err(failed)?;
        for upload in uploads(&text) {
            let ours = upload.key.strip_prefix(&provider.prefix).is_some_and(|key| Key::parse(key).is_ok());
            if ours && upload.begun <= oldest {
                swept += abort(s3, &upload).await?;
            }
        }
        marker = next(&text);
        if marker.is_none() {
            break;
        }
    }
    Ok(swept)
}

/// One that has vanished was not left behind.
async fn abort(s3: &S3, upload: &Upload) -> Result<u64, Error> {
    let failed = |error: object_store::Error| unavailable("abort upload of", &upload.key, Told::from(error));
    let path =
        Path::parse(&upload.key).map_err(|error| unavailable("abort upload of", &upload.key, error))?;
    match timeout(PATIENCE, s3.store.abort_multipart(&path, &upload.id)).await {
        Ok(Ok(())) => Ok(1),
        Ok(Err(object_store::Error::NotFound { .. })) => Ok(0),
        Ok(Err(error)) => Err(failed(error)),
        Err(_) => Err(unavailable("abort upload of", &upload.key, NoAnswer(PATIENCE))),
    }
}

async fn page(provider: &Provider, s3: &S3, marker: &Marker) -> Result<String, Cause> {
    let mut request = request(provider, marker)?;
    if s3.signed {
        let credential = s3.store.credentials().get_credential().await.map_err(cause)?;
        let authorizer = AwsAuthorizer::new(&credential, "s3", &s3.region);
        authorizer.try_authorize(&mut request, None).map_err(cause)?;
    }
    let (head, body) = s3.http.execute(request).await.map_err(cause)?.into_parts();
    if head.status != StatusCode::OK {
        return Err(cause(Refused(head.status)));
    }
    let bytes = body.bytes().await.map_err(cause)?;
    String::from_utf8(bytes.into()).map_err(cause)
}

fn cause(error: impl std::error::Error + Send + Sync + 'static) -> Cause {
    std::sync::Arc::new(error)
}

/// The parameters stand in the order in which they are signed.
fn request(provider: &Provider, marker: &Marker) -> Result<HttpRequest, Cause> {
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let mut query = "encoding-type=url".to_owned();
    if let Some((key, _)) = marker {
        query += &format!("&key-marker={}", encoded(key));
    }
    if !provider.prefix.is_empty() {
        query += &format!("&prefix={}", encoded(&provider.prefix));
    }
    if let Some((_, id)) = marker {
        query += &format!("&upload-id-marker={}", encoded(id));
    }
    let address = format!("{}?{query}&uploads=", provider.endpoint.bucket(&provider.prefix));
    http::Request::builder().method(Method::GET).uri(address).body(HttpRequestBody::empty()).map_err(cause)
}

/// The uploads of a page of `ListMultipartUploads`. What is percent-encoded, as was asked for, has nothing left for XML to escape.
fn uploads(page: &str) -> Vec<Upload> {
    let entries = page.split("<Upload>").skip(1).filter_map(|rest| rest.split("</Upload>").next());
    let upload = |entry| {
        Some(Upload {
            key: decoded(element(entry, "Key")?)?,
            id: element(entry, "UploadId")?.to_owned(),
            begun: element(entry, "Initiated")?.parse().ok()?,
        })
    };
    entries.filter_map(upload).collect()
}

fn next(page: &str) -> Marker {
    if element(page, "IsTruncated")? != "true" {
        return None;
    }
    Some((decoded(element(page, "NextKeyMarker")?)?, element(page, "NextUploadIdMarker")?.to_owned()))
}

/// As in a form: a blank may be a `+`.
fn decoded(text: &str) -> Option<String> {
    let text = text.replace('+', " ");
    percent_decode_str(&text).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

/// The store does not list unfinished uploads.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the store answered {0}")]
struct Refused(StatusCode);

#[cfg(test)]
mod tests {
    use super::*;

    /// As S3 answers: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListMultipartUploads.html>.
    const PAGE: &str = "<?xml version=\"1.0\"?><ListMultipartUploadsResult><Bucket>b</Bucket><KeyMarker></KeyMarker>\
        <NextKeyMarker>a%26b%2Fo%2F2</NextKeyMarker><NextUploadIdMarker>id.2_-</NextUploadIdMarker>\
        <IsTruncated>true</IsTruncated>\
        <Upload><Key>a%26b%2Fo%2F1</Key><UploadId>id.1_-</UploadId><Initiated>2026-11-21T05:12:00.000Z</Initiated></Upload>\
        <Upload><Key>a%26b%2Fo%2F2</Key><UploadId>id.2_-</UploadId><Initiated>2026-11-21T05:12:01.000Z</Initiated></Upload>\
        </ListMultipartUploadsResult>";

    #[test]
    fn a_page_of_uploads_is_understood() {
        let seen = uploads(PAGE);
        let begun = |text: &str| text.parse::<Timestamp>().unwrap();
        let upload = |key: &str, id: &str, at| Upload { key: key.into(), id: id.into(), begun: begun(at) };
        assert_eq!(
            seen,
            [
                upload("a&b/o/1", "id.1_-", "2026-11-21T05:12:00Z"),
                upload("a&b/o/2", "id.2_-", "2026-11-21T05:12:01Z")
            ]
        );
        assert_eq!(next(PAGE), Some(("a&b/o/2".to_owned(), "id.2_-".to_owned())));
        assert_eq!(next(&PAGE.replace("true", "false")), None);
        assert!(uploads("").is_empty() && next("").is_none());
    }
}
