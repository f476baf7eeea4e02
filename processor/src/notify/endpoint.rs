//! A receiver, as the settings name it: checked once at start, then trusted.

use std::{collections::HashSet, net::IpAddr};

use headworks_shared::{config::settings::Webhook, meta::Receiver, model::EventType};
use http::Uri;

use super::{
    StartError, address,
    sign::{Secret, SecretError},
};

/// Where events go, and how they are signed.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// As it stands in the settings; names the receiver in the metadata store.
    pub(super) url: String,
    /// The same, taken apart.
    pub(super) uri: Uri,
    /// Signs what is sent.
    pub(super) secret: Secret,
    events: Vec<EventType>,
}

impl Endpoint {
    fn parse(webhook: &Webhook, allow_private: bool) -> Result<Self, EndpointError> {
        let uri: Uri = webhook.url.parse().map_err(|_| EndpointError::Url)?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(EndpointError::Scheme);
        }
        let authority = uri.authority().ok_or(EndpointError::Url)?;
        if authority.as_str().contains('@') {
            return Err(EndpointError::Credentials);
        }
        let host: Result<IpAddr, _> = address::bare(authority.host()).parse();
        if let Ok(address) = host
            && !allow_private
            && !address::is_public(address)
        {
            return Err(EndpointError::Private);
        }
        let secret = Secret::parse(webhook.secret.expose())?;
        Ok(Self { url: webhook.url.clone(), uri, secret, events: webhook.events.clone() })
    }

    /// Whether it needs root certificates.
    pub(super) fn is_https(&self) -> bool {
        self.uri.scheme_str() == Some("https")
    }

    /// Its host and port, for logs: the rest of the URL may hold a token.
    pub(super) fn host(&self) -> &str {
        let authority = self.uri.authority().map_or("", |authority| authority.as_str());
        authority.rsplit('@').next().unwrap_or_default()
    }

    /// As the outbox wants it.
    pub(super) fn receiver(&self) -> Receiver {
        Receiver { url: self.url.clone(), events: self.events.clone() }
    }
}

/// Reads all receivers.
///
/// # Errors
/// All mistakes at once.
pub(super) fn parse_all(webhooks: &[Webhook], allow_private: bool) -> Result<Vec<Endpoint>, StartError> {
    let mut names = HashSet::new();
    let mut mistakes = Vec::new();
    let mut endpoints = Vec::with_capacity(webhooks.len());
    for (place, webhook) in webhooks.iter().enumerate() {
        match Endpoint::parse(webhook, allow_private) {
            Ok(_) if !names.insert(&webhook.url) => mistakes.push((place, EndpointError::Twice)),
            Ok(endpoint) => endpoints.push(endpoint),
            Err(mistake) => mistakes.push((place, mistake)),
        }
    }
    if mistakes.is_empty() { Ok(endpoints) } else { Err(StartError::Webhooks(mistakes)) }
}

/// A webhook of the settings cannot be used. The URL is not repeated: it may hold a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// It cannot be read.
    #[error("url is not a whole URL, as in https://example.com/hook")]
    Url,
    /// Another scheme.
    #[error("url must begin with http:// or https://")]
    Scheme,
    /// A user's name or password in the URL.
    #[error("url must not hold a user or password: deliveries are signed instead")]
    Credentials,
    /// An address that is not on the public network.
    #[error("url has a private or loopback address; set notify.allow_private to allow it")]
    Private,
    /// Two webhooks have this URL.
    #[error("url is there twice: it names the receiver")]
    Twice,
    /// The secret cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn webhook(url: &str, secret: &str) -> Webhook {
        Webhook { url: url.to_owned(), secret: secret.to_owned().into(), events: Vec::new() }
    }

    #[test]
    fn all_mistakes_are_told_at_once_and_no_secret_is() {
        let webhooks = [
            webhook("https://ok.example/hook?token=t0p", SECRET),
            webhook("ftp://example.com/", SECRET),
            webhook("/hook", SECRET),
            webhook("https://user:pw@example.com/", SECRET),
            webhook("https://example.com/", "whsec_%%%"),
            webhook("http://[::1]:80/hook", SECRET),
            webhook("http://169.254.169.254/latest", SECRET),
            webhook("https://ok.example/hook?token=t0p", SECRET),
        ];
        let error = parse_all(&webhooks, false).unwrap_err();
        let text = error.to_string();
        let StartError::Webhooks(mistakes) = error else { panic!("{text}") };
        use EndpointError::{Credentials, Private, Scheme, Twice};
        let told: Vec<_> = mistakes.iter().map(|(place, _)| *place).collect();
        assert_eq!(told, [1, 2, 3, 4, 5, 6, 7]);
        for (place, mistake) in [(1, Scheme), (3, Credentials), (5, Private), (6, Private), (7, Twice)] {
            assert!(mistakes.contains(&(place, mistake)), "{place} {mistake:?} in {text}");
        }
        assert!(!text.contains("t0p") && !text.contains("%%%"), "{text}");
    }

    #[test]
    fn private_addresses_are_fine_where_they_are_allowed() {
        assert!(parse_all(&[webhook("http://127.0.0.1:8080/", SECRET)], true).is_ok());
    }
}
