//! What S3 promises and `s3s-fs` does not keep: of many puts of one key with `If-None-Match: *` only one wins, an object has its
//! metadata from the moment that it is visible, uploads in parts can be listed, and a listing costs what it tells.
//!
//! Everything is put in a bucket of its own first, and moved to its place under a lock when it is whole: metadata first, then bytes.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use anyhow::{Result, anyhow};
use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use s3s::{S3, S3Request, S3Response, S3Result, dto::*, s3_error};
use s3s_fs::FileSystem;

use super::{BUCKET, list::list};

/// Where objects are until they are whole.
const STAGE: &str = "on-its-way";

/// On which requests a server does not look at its conditions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Careless {
    /// On none.
    Never,
    /// On puts.
    Puts,
    /// On the completion of parts.
    Completions,
}

/// `s3s-fs`, with what it lacks.
pub(super) struct Exact {
    careless: Careless,
    inner: FileSystem,
    root: PathBuf,
    /// By its id, each upload in parts; held while anything is moved to its place.
    uploads: Mutex<BTreeMap<String, Upload>>,
}

#[derive(Clone)]
struct Upload {
    key: String,
    staged: String,
    begun: SystemTime,
}

impl Exact {
    pub(super) fn open(root: &Path, careless: Careless) -> Result<Self> {
        for bucket in [BUCKET, STAGE] {
            fs::create_dir_all(root.join(bucket))?;
        }
        let inner = FileSystem::new(root).map_err(|error| anyhow!("{error:?}"))?;
        Ok(Self { careless, inner, root: root.canonicalize()?, uploads: Mutex::default() })
    }

    fn uploads(&self) -> MutexGuard<'_, BTreeMap<String, Upload>> {
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Before anything is read, as S3 does.
    fn check(&self, key: &str, condition: Option<&IfNoneMatch>) -> S3Result<()> {
        if condition.is_some_and(|condition| condition.is_any()) && self.root.join(BUCKET).join(key).exists()
        {
            return Err(s3_error!(PreconditionFailed, "there is an object"));
        }
        Ok(())
    }

    /// Moves what is staged to its place, unless that is taken and the request says not to replace.
    fn publish(&self, staged: &str, key: &str, condition: Option<&IfNoneMatch>) -> S3Result<()> {
        let _held = self.uploads();
        let outcome = self.check(key, condition).and_then(|()| {
            let moved = ["metadata.json", "internal.json"].iter().try_for_each(|kind| {
                moved(&self.beside(STAGE, staged, kind), &self.beside(BUCKET, key, kind))
            });
            let place = self.root.join(BUCKET).join(key);
            moved.and_then(|()| moved_object(&self.root.join(STAGE).join(staged), &place)).map_err(internal)
        });
        if outcome.is_err() {
            drop(fs::remove_file(self.root.join(STAGE).join(staged)));
            for kind in ["metadata.json", "internal.json"] {
                drop(fs::remove_file(self.beside(STAGE, staged, kind)));
            }
        }
        outcome
    }

    /// Where `s3s-fs` keeps what belongs to an object.
    fn beside(&self, bucket: &str, key: &str, kind: &str) -> PathBuf {
        self.root.join(format!(".bucket-{}.object-{}.{kind}", BASE64.encode(bucket), BASE64.encode(key)))
    }
}

fn internal(error: io::Error) -> s3s::S3Error {
    s3_error!(error, InternalError)
}

fn moved(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => match fs::remove_file(to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        },
        result => result,
    }
}

fn moved_object(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to.parent().unwrap_or(to))?;
    fs::rename(from, to)
}

#[expect(clippy::disallowed_methods, reason = "the server is not part of Headworks, and has its own time")]
fn now() -> SystemTime {
    SystemTime::now()
}

fn staged() -> String {
    format!("{:032x}", fastrand::u128(..))
}

#[async_trait]
impl S3 for Exact {
    async fn put_object(
        &self,
        mut request: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        let input = &mut request.input;
        let (key, staged, condition) = (input.key.clone(), staged(), input.if_none_match.take());
        let condition = condition.filter(|_| self.careless != Careless::Puts);
        self.check(&key, condition.as_ref())?;
        (input.bucket, input.key) = (STAGE.to_owned(), staged.clone());
        let answer = self.inner.put_object(request).await?;
        self.publish(&staged, &key, condition.as_ref())?;
        Ok(answer)
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        self.inner.get_object(request).await
    }

    async fn head_object(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        self.inner.head_object(request).await
    }

    async fn delete_object(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.inner.delete_object(request).await
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        if request.input.delimiter.is_some() || request.input.bucket != BUCKET {
            return self.inner.list_objects_v2(request).await;
        }
        let listed = list(&self.root.join(BUCKET), request.input).map_err(internal)?;
        Ok(S3Response::new(listed))
    }

    async fn create_multipart_upload(
        &self,
        mut request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let input = &mut request.input;
        let upload = Upload { key: input.key.clone(), staged: staged(), begun: now() };
        (input.bucket, input.key) = (STAGE.to_owned(), upload.staged.clone());
        let mut answer = self.inner.create_multipart_upload(request).await?;
        let id = answer.output.upload_id.clone().ok_or_else(|| s3_error!(InternalError))?;
        (answer.output.bucket, answer.output.key) = (Some(BUCKET.to_owned()), Some(upload.key.clone()));
        self.uploads().insert(id, upload);
        Ok(answer)
    }

    async fn upload_part(
        &self,
        request: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        if !self.uploads().contains_key(&request.input.upload_id) {
            return Err(s3_error!(NoSuchUpload));
        }
        self.inner.upload_part(request).await
    }

    async fn complete_multipart_upload(
        &self,
        mut request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let input = &mut request.input;
        let (id, condition) = (input.upload_id.clone(), input.if_none_match.take());
        let condition = condition.filter(|_| self.careless != Careless::Completions);
        let upload = self.uploads().get(&id).cloned().ok_or_else(|| s3_error!(NoSuchUpload))?;
        self.check(&upload.key, condition.as_ref())?;
        (input.bucket, input.key) = (STAGE.to_owned(), upload.staged.clone());
        let answer = self.inner.complete_multipart_upload(request).await?;
        self.publish(&upload.staged, &upload.key, condition.as_ref())?;
        self.uploads().remove(&id);
        Ok(answer)
    }

    async fn abort_multipart_upload(
        &self,
        mut request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let input = &mut request.input;
        let upload = self.uploads().remove(&input.upload_id).ok_or_else(|| s3_error!(NoSuchUpload))?;
        (input.bucket, input.key) = (STAGE.to_owned(), upload.staged);
        self.inner.abort_multipart_upload(request).await
    }

    async fn list_multipart_uploads(
        &self,
        request: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        let prefix = request.input.prefix.unwrap_or_default();
        let upload = |(id, upload): (&String, &Upload)| MultipartUpload {
            key: Some(upload.key.clone()),
            upload_id: Some(id.clone()),
            initiated: Some(upload.begun.into()),
            ..MultipartUpload::default()
        };
        let listed = self.uploads();
        let ours = listed.iter().filter(|(_, upload)| upload.key.starts_with(&prefix));
        Ok(S3Response::new(ListMultipartUploadsOutput {
            bucket: Some(BUCKET.to_owned()),
            is_truncated: Some(false),
            uploads: Some(ours.map(upload).collect()),
            ..ListMultipartUploadsOutput::default()
        }))
    }
}
