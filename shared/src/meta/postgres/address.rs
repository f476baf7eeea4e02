//! A `postgres://` URL. What the driver does not know of TLS is taken out of it first: `sslmode=verify-full` and `sslrootcert`.

use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use tokio_postgres::{Config, config::SslMode};

use super::OpenError;

/// Where a server is, and how far it is to be trusted.
#[derive(Debug)]
pub(super) struct Address {
    pub(super) config: Config,
    pub(super) trust: Trust,
}

/// What a server must show, where TLS is spoken. As in libpq, `require` encrypts and asks for no proof.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Trust {
    /// Nothing.
    Anybody,
    /// A certificate for its name, from an authority that this machine trusts, or from one of those in the file.
    Proven { authorities: Option<PathBuf> },
}

impl Address {
    pub(super) fn parse(url: &str) -> Result<Self, OpenError> {
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let (mut kept, mut mode, mut authorities) = (Vec::new(), None, None);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("sslmode", value)) => mode = Some(value),
                Some(("sslrootcert", value)) => {
                    let file = percent_decode_str(value).decode_utf8_lossy().into_owned();
                    authorities = Some(PathBuf::from(file));
                }
                _ => kept.push(pair),
            }
        }
        let mut config: Config = format!("{base}?{}", kept.join("&")).parse().map_err(OpenError::url)?;
        let trust = match mode {
            Some("verify-full") => Trust::Proven { authorities },
            _ => Trust::Anybody,
        };
        config.ssl_mode(match mode {
            Some("disable") => SslMode::Disable,
            None | Some("prefer") => SslMode::Prefer,
            Some("require" | "verify-full") => SslMode::Require,
            Some(_) => return Err(OpenError::url(UnknownMode)),
        });
        Ok(Self { config, trust })
    }
}

#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("sslmode is one of disable, prefer, require, verify-full")]
struct UnknownMode;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str) -> (SslMode, Trust) {
        let address = Address::parse(&format!("postgres://me:p%40ss@db:6432/headworks{query}")).unwrap();
        assert_eq!(address.config.get_password(), Some("p@ss".as_bytes()));
        (address.config.get_ssl_mode(), address.trust)
    }

    #[test]
    fn says_how_far_a_server_is_trusted() {
        assert_eq!(parse(""), (SslMode::Prefer, Trust::Anybody));
        assert_eq!(parse("?sslmode=disable&connect_timeout=3"), (SslMode::Disable, Trust::Anybody));
        assert_eq!(parse("?sslmode=require"), (SslMode::Require, Trust::Anybody));
        let machine = Trust::Proven { authorities: None };
        assert_eq!(parse("?sslmode=verify-full"), (SslMode::Require, machine));
        let file = Trust::Proven { authorities: Some("/etc/my ca.pem".into()) };
        assert_eq!(parse("?sslrootcert=/etc/my%20ca.pem&sslmode=verify-full"), (SslMode::Require, file));
    }

    #[test]
    fn what_it_cannot_keep_it_refuses() {
        for bad in ["postgres://db/x?sslmode=verify-ca", "postgres://db/x?sslmode=maybe", "postgres://db:x/y"]
        {
            assert!(Address::parse(bad).is_err(), "{bad}");
        }
    }
}
