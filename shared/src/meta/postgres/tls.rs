//! TLS to the server, by rustls.

use std::{fs, path::Path, sync::Arc};

use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
};
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{
    OpenError,
    address::{Address, Trust},
};

/// What makes connections speak TLS, as the address wants it.
pub(super) fn connector(address: &Address) -> Result<MakeRustlsConnect, OpenError> {
    let provider = Arc::new(ring::default_provider());
    let versions = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(OpenError::url)?;
    let config = match &address.trust {
        // Where nothing is proven, or TLS is not spoken at all, no authority is needed.
        _ if address.config.get_ssl_mode() == SslMode::Disable => {
            versions.with_root_certificates(RootCertStore::empty())
        }
        Trust::Anybody => versions.dangerous().with_custom_certificate_verifier(Arc::new(Unproven(provider))),
        Trust::Proven { authorities } => versions.with_root_certificates(roots(authorities.as_deref())?),
    };
    Ok(MakeRustlsConnect::new(config.with_no_client_auth()))
}

fn roots(file: Option<&Path>) -> Result<RootCertStore, OpenError> {
    let mut roots = RootCertStore::empty();
    match file {
        Some(file) => {
            let text = fs::read(file).map_err(OpenError::url)?;
            for certificate in CertificateDer::pem_slice_iter(&text) {
                roots.add(certificate.map_err(OpenError::url)?).map_err(OpenError::url)?;
            }
        }
        // What the machine has and cannot be read is no authority; the others are.
        None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    if roots.is_empty() {
        return Err(OpenError::url(NoAuthority));
    }
    Ok(roots)
}

#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("there is no certificate of an authority to prove the server by")]
struct NoAuthority;

/// Takes any certificate, as libpq's `require` and `prefer` do; the handshake must still be signed by it.
#[derive(Debug)]
struct Unproven(Arc<CryptoProvider>);

impl ServerCertVerifier for Unproven {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
