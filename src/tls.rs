//! Whom rosterd trusts over TLS, and what it shows of itself.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;

use crate::secret::Secret;

/// The authorities that servers are verified by.
#[derive(Clone, Copy, Debug)]
pub enum Trust<'a> {
    /// Those that the system trusts.
    Platform,
    /// Those of this PEM text alone.
    Only(&'a [u8]),
    /// Plain HTTP needs no trust, and a bare container may have none.
    Nobody,
}

/// A client certificate with its key, both in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub certificate: Vec<u8>,
    pub key: Secret,
}

/// One TLS stack for everything: rustls with ring.
///
/// # Errors
/// In words, when `ca`, `client_certificate` or `client_key` are of no use.
pub fn client_config(
    trust: Trust<'_>,
    identity: Option<&Identity>,
) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be set up: {error}"))?;
    let builder = match trust {
        Trust::Only(pem) => builder.with_root_certificates(roots(pem)?),
        Trust::Nobody => builder.with_root_certificates(RootCertStore::empty()),
        Trust::Platform => builder.with_platform_verifier().map_err(|error| {
            format!("the system's trusted authorities cannot be read: {error}\nhint: install ca-certificates, or set `ca`")
        })?,
    };
    let Some(identity) = identity else { return Ok(builder.with_no_client_auth()) };
    let (chain, key) = (chain(&identity.certificate)?, key(&identity.key)?);
    builder.with_client_auth_cert(chain, key).map_err(|error| {
        format!("`client_certificate` and `client_key` do not go together: {error}")
    })
}

fn chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let chain = chain.map_err(|error| format!("`client_certificate` is damaged: {error}"))?;
    if chain.is_empty() {
        return Err("`client_certificate` holds no certificate".to_owned());
    }
    Ok(chain)
}

fn key(pem: &Secret) -> Result<PrivateKeyDer<'static>, String> {
    // The library's error may show parts of the text.
    PrivateKeyDer::from_pem_slice(pem.expose().as_bytes())
        .map_err(|_| "`client_key` holds no private key in PEM without a passphrase".to_owned())
}

fn roots(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| format!("`ca` is damaged: {error}"))?;
        roots
            .add(certificate)
            .map_err(|error| format!("`ca` holds an unusable certificate: {error}"))?;
    }
    if roots.is_empty() {
        return Err("`ca` holds no certificate".to_owned());
    }
    Ok(roots)
}
