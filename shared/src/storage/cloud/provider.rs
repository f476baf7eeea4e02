//! The stores by URL: S3, GCS and Azure, each with what the others do not have.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock, PoisonError, atomic::AtomicUsize},
};

use async_trait::async_trait;
use http::Uri;
use object_store::{
    ClientOptions, ObjectStore, ObjectStoreExt as _, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey},
    azure::{AzureConfigKey, MicrosoftAzureBuilder},
    client::{HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService},
    gcp::GoogleCloudStorageBuilder,
    list::PaginatedListStore,
    path::Path,
};

use super::{
    Options,
    call::Endpoint,
    condition::Condition,
    http::{Client, Connector, Sizes, Waits},
    probe::ProbeError,
    retry::{AGAIN, FIRST, LONGEST},
};

/// A store, by what is asked of it.
#[derive(Clone, Debug)]
pub(super) struct Provider {
    pub(super) objects: Arc<dyn ObjectStore>,
    pub(super) listing: Listing,
    pub(super) endpoint: Endpoint,
    /// What all keys begin with: empty, or with a `/` at its end.
    pub(super) prefix: String,
    /// Whether it makes one object of parts only where there is none.
    pub(super) parts: bool,
    /// Only S3's unfinished uploads can be listed; the others' end by a rule of the bucket.
    pub(super) s3: Option<S3>,
    /// Requests under way.
    pub(super) live: Arc<AtomicUsize>,
}

/// Lists page by page.
#[derive(Clone)]
pub(super) struct Listing(pub(super) Arc<dyn PaginatedListStore>);

impl std::fmt::Debug for Listing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Listing")
    }
}

/// What it takes to ask S3 for more than `object_store` does.
#[derive(Clone, Debug)]
pub(super) struct S3 {
    pub(super) store: AmazonS3,
    pub(super) region: String,
    pub(super) signed: bool,
    pub(super) http: HttpClient,
}

/// A URL in its parts.
struct Place<'a> {
    scheme: &'a str,
    /// `scheme://bucket`.
    bucket: String,
    prefix: String,
}

impl<'a> Place<'a> {
    fn of(url: &'a str) -> Result<Self, ProbeError> {
        let unknown = || ProbeError::Url { url: url.to_owned() };
        let (scheme, rest) = url.split_once("://").ok_or_else(unknown)?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = Path::parse(prefix.trim_end_matches('/')).map_err(|_| unknown())?;
        let between = if prefix.as_ref().is_empty() { "" } else { "/" };
        if bucket.is_empty() {
            return Err(unknown());
        }
        Ok(Self { scheme, bucket: format!("{scheme}://{bucket}"), prefix: format!("{prefix}{between}") })
    }
}

/// Variables that would have `object_store` add up, or sign, the dummy in place of the bytes.
const NOT_TAKEN: [&str; 2] = ["checksum", "unsigned_payload"];

/// A builder of `object_store`, told what the variables that begin with `$family` say.
macro_rules! builder {
    ($builder:ty, $place:expr, $options:expr, $family:literal) => {{
        let mut builder = <$builder>::new().with_url($place.bucket.as_str());
        for (name, value) in &$options.variables {
            let name = name.to_ascii_lowercase();
            if !name.starts_with($family) || NOT_TAKEN.iter().any(|word| name.contains(word)) {
                continue;
            }
            if let Ok(key) = name.parse() {
                builder = builder.with_config(key, value.as_str());
            }
        }
        builder.with_retry(retries())
    }};
}

/// Builds a store twice: once to learn where it is, and once to use it.
macro_rules! build {
    ($builder:expr, $condition:expr, $place:expr, $options:expr) => {{
        let located = Locator::default();
        let blind = $builder.clone().with_skip_signature(true).with_http_connector(located.clone());
        let endpoint = located.locate(&blind.build().map_err(ProbeError::settings)?, &$place.prefix).await?;
        let connector = connector($options, (&endpoint, &$place.prefix), $condition)?;
        let store = $builder.with_http_connector(connector.clone()).build().map_err(ProbeError::settings)?;
        (store, endpoint, connector)
    }};
}

impl Provider {
    /// Makes the client of a store. Nothing is sent yet.
    pub(super) async fn new(url: &str, options: &Options) -> Result<Self, ProbeError> {
        let place = Place::of(url)?;
        match place.scheme {
            "s3" | "s3a" => Self::s3(place, options).await,
            "gs" => {
                let builder = builder!(GoogleCloudStorageBuilder, place, options, "google_");
                let (store, endpoint, connector) = build!(builder, Condition::None, place, options);
                // https://cloud.google.com/storage/docs/xml-api/post-object-complete: "Preconditions are not supported".
                let gcs = Self::of(Arc::new(store), endpoint, place.prefix, connector.live);
                Ok(Self { parts: false, ..gcs })
            }
            "az" | "azure" | "abfs" | "abfss" => Self::azure(place, options).await,
            _ => Err(ProbeError::Url { url: url.to_owned() }),
        }
    }

    async fn s3(place: Place<'_>, options: &Options) -> Result<Self, ProbeError> {
        let builder = builder!(AmazonS3Builder, place, options, "aws_")
            .with_unsigned_payload(true)
            // One by one: deleting in bulk is not known to all who speak S3.
            .with_disable_bulk_delete(true);
        let says = |key| builder.get_config_value(&key);
        let region = says(AmazonS3ConfigKey::Region).unwrap_or_else(|| "us-east-1".to_owned());
        let signed = says(AmazonS3ConfigKey::SkipSignature).as_deref() != Some("true");
        let (store, endpoint, connector) = build!(builder, Condition::S3, place, options);
        let plain = ClientOptions::new().with_allow_http(endpoint.is_plain());
        let http = connector.connect(&plain).map_err(ProbeError::settings)?;
        let s3 = S3 { store: store.clone(), region, signed, http };
        Ok(Self { s3: Some(s3), ..Self::of(Arc::new(store), endpoint, place.prefix, connector.live) })
    }

    async fn azure(place: Place<'_>, options: &Options) -> Result<Self, ProbeError> {
        let builder = builder!(MicrosoftAzureBuilder, place, options, "azure_");
        let account = builder.get_config_value(&AzureConfigKey::AccountName).unwrap_or_default();
        let credentials = Arc::new(OnceLock::new());
        let condition = Condition::Azure { account, credentials: Arc::clone(&credentials) };
        let (store, endpoint, connector) = build!(builder, condition, place, options);
        credentials.get_or_init(|| Arc::clone(store.credentials()));
        Ok(Self::of(Arc::new(store), endpoint, place.prefix, connector.live))
    }

    fn of<S: ObjectStore + PaginatedListStore>(
        store: Arc<S>,
        endpoint: Endpoint,
        prefix: String,
        live: Arc<AtomicUsize>,
    ) -> Self {
        let listing = Listing(Arc::clone(&store) as Arc<dyn PaginatedListStore>);
        Self { objects: store, listing, endpoint, prefix, parts: true, s3: None, live }
    }
}

fn connector(
    options: &Options,
    (endpoint, prefix): (&Endpoint, &str),
    condition: Condition,
) -> Result<Connector, ProbeError> {
    let sizes = Sizes { idle: options.streams, connect: options.connect, stall: options.stall };
    let bundle = options.variable("AWS_CA_BUNDLE").map(PathBuf::from);
    let client =
        Client::new(sizes, !endpoint.is_plain(), bundle.as_deref()).map_err(ProbeError::Certificates)?;
    let waits = Waits { answer: options.answer, complete: options.complete, stall: options.stall };
    let (bucket, retries) = (endpoint.bucket(prefix), options.retries.clone());
    Ok(Connector { client, bucket, condition, waits, live: Arc::default(), retries })
}

/// For what may be sent twice; bodies are sent again by ourselves, or not at all.
fn retries() -> RetryConfig {
    let mut retries = RetryConfig { max_retries: AGAIN as usize, ..RetryConfig::default() };
    retries.retry_timeout = super::PATIENCE;
    retries.backoff.init_backoff = FIRST;
    retries.backoff.max_backoff = LONGEST;
    retries
}

/// Learns where a store is by having it address a request, which is not sent.
#[derive(Clone, Default, Debug)]
struct Locator(Arc<Mutex<Option<Uri>>>);

impl Locator {
    async fn locate(&self, store: &dyn ObjectStore, prefix: &str) -> Result<Endpoint, ProbeError> {
        const NAME: &str = "name";
        let path = Path::parse(format!("{prefix}{NAME}")).map_err(ProbeError::settings)?;
        // It fails, because nothing is sent.
        drop(store.head(&path).await);
        let address = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        address.and_then(|address| Endpoint::of(&address, NAME)).ok_or_else(|| ProbeError::settings(NotSent))
    }
}

impl HttpConnector for Locator {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for Locator {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(request.uri().clone());
        Err(HttpError::new(HttpErrorKind::Unknown, NotSent))
    }
}

#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the store's address is not known")]
struct NotSent;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shutdown::{Stop, Tasks};

    async fn address(url: &str, variables: &[(&str, &str)]) -> String {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let mut options = Options::new(variables, Tasks::new(Stop::new()));
        options.streams = 1;
        let provider = Provider::new(url, &options).await.unwrap();
        format!("{:?}", provider.endpoint.target("k/1"))
    }

    #[tokio::test]
    async fn every_store_is_found_where_its_url_and_variables_say() {
        let keys = [("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "s"), ("AWS_REGION", "eu-west-1")];
        let s3 = address("s3://bucket/a/b", &keys).await;
        assert!(s3.contains("https") && s3.contains("s3.eu-west-1.amazonaws.com"), "{s3}");
        assert!(s3.contains("\"/bucket/a/b/k/1\""), "{s3}");
        let local = [keys[0], keys[1], ("AWS_ENDPOINT", "http://127.0.0.1:9"), ("AWS_ALLOW_HTTP", "true")];
        let s3 = address("s3://bucket", &local).await;
        assert!(s3.contains("127.0.0.1:9\"") && s3.contains("\"/bucket/k/1\""), "{s3}");
        let gcs = address("gs://bucket/a", &[("GOOGLE_SKIP_SIGNATURE", "true")]).await;
        assert!(gcs.contains("storage.googleapis.com") && gcs.contains("\"/bucket/a/k/1\""), "{gcs}");
        let account = [("AZURE_STORAGE_ACCOUNT_NAME", "acme"), ("AZURE_STORAGE_ACCOUNT_KEY", "c2VjcmV0")];
        let azure = address("az://container/a", &account).await;
        assert!(azure.contains("acme.blob.core.windows.net"), "{azure}");
        assert!(azure.contains("\"/container/a/k/1\""), "{azure}");
    }

    #[tokio::test]
    async fn what_is_no_store_is_refused() {
        for url in ["", "s3", "s3://", "ftp://x/y", "file:///tmp", "s3://bucket/a//b"] {
            let options = Options::new([], Tasks::new(Stop::new()));
            assert!(matches!(Provider::new(url, &options).await, Err(ProbeError::Url { .. })), "{url}");
        }
    }
}
