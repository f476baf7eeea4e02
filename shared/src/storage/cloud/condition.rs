//! The condition that there is no such object yet, for the request that makes one object of many parts: `object_store` completes them
//! without it.

use std::sync::Arc;

use http::{
    HeaderValue,
    header::{AUTHORIZATION, IF_NONE_MATCH},
};
use object_store::{
    azure::{AzureAuthorizer, AzureCredential},
    client::{CredentialProvider, HttpRequest},
};

/// How a store is told.
#[derive(Clone, Debug)]
pub(super) enum Condition {
    /// S3: a header that need not be signed, as `object_store` sends it itself for copies.
    S3,
    /// GCS: not at all, so nothing is made of parts there.
    None,
    /// Azure: a header that an account's key signs, so the request is signed again.
    Azure {
        /// The storage account.
        account: String,
        /// Set as soon as the store is made.
        credentials: Arc<std::sync::OnceLock<AzureCredentials>>,
    },
}

pub(super) type AzureCredentials = Arc<dyn CredentialProvider<Credential = AzureCredential>>;

impl Condition {
    /// # Errors
    /// When the request cannot be signed again.
    pub(super) async fn add_to(&self, mut request: HttpRequest) -> object_store::Result<HttpRequest> {
        let headers = request.headers_mut();
        match self {
            Self::S3 => drop(headers.insert(IF_NONE_MATCH, HeaderValue::from_static("*"))),
            Self::None => {}
            Self::Azure { account, credentials } => {
                headers.insert(IF_NONE_MATCH, HeaderValue::from_static("*"));
                let signed = headers.remove(AUTHORIZATION);
                let shared_key =
                    signed.as_ref().is_some_and(|value| value.as_bytes().starts_with(b"SharedKey"));
                match (credentials.get(), signed) {
                    (Some(credentials), _) if shared_key => {
                        let credential = credentials.get_credential().await?;
                        AzureAuthorizer::new(&credential, account).try_authorize(&mut request)?;
                    }
                    (_, Some(signed)) => drop(request.headers_mut().insert(AUTHORIZATION, signed)),
                    // The address itself is signed.
                    (_, None) => {}
                }
            }
        }
        Ok(request)
    }
}
