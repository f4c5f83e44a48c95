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
        Trust::Only(pem) => builder.with_root_certificates(authorities(pem)?),
        Trust::Nobody => builder.with_root_certificates(RootCertStore::empty()),
        Trust::Platform => builder.with_platform_verifier().map_err(|error| {
            format!("the system's trusted authorities cannot be read: {error}; install ca-certificates, or set `ca`")
        })?,
    };
    let Some(identity) = identity else { return Ok(builder.with_no_client_auth()) };
    let (chain, key) = (chain(&identity.certificate)?, key(&identity.key)?);
    builder.with_client_auth_cert(chain, key).map_err(|error| {
        format!("`client_certificate` and `client_key` do not go together: {error}")
    })
}

/// The authorities of a PEM text, as `ca` has it.
///
/// # Errors
/// In words, when it holds none or one that is of no use.
pub fn authorities(pem: &[u8]) -> Result<RootCertStore, String> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        let made = rcgen::generate_simple_self_signed(["rosterd".to_owned()]).unwrap();
        let key = Secret::new(made.signing_key.serialize_pem());
        Identity { certificate: made.cert.pem().into_bytes(), key }
    }

    fn refusal(identity: &Identity) -> String {
        client_config(Trust::Nobody, Some(identity)).unwrap_err()
    }

    #[test]
    fn a_certificate_is_shown_only_when_there_is_one() {
        let config = client_config(Trust::Nobody, Some(&identity())).unwrap();
        assert!(config.client_auth_cert_resolver.has_certs());
        let config = client_config(Trust::Nobody, None).unwrap();
        assert!(!config.client_auth_cert_resolver.has_certs());
    }

    #[test]
    fn mistakes_name_the_setting_and_never_show_the_key() {
        let nothing = Identity { certificate: b"nothing".to_vec(), ..identity() };
        assert!(refusal(&nothing).contains("`client_certificate` holds no certificate"));
        let strange = Identity { key: identity().key, ..identity() };
        assert!(refusal(&strange).contains("`client_key` do not go together"));
        let hidden = "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n";
        let damaged = Identity { key: Secret::new(hidden.to_owned()), ..identity() };
        let refusal = refusal(&damaged);
        assert!(refusal.contains("`client_key`") && !refusal.contains("hunter2"), "{refusal}");
    }

    #[test]
    fn an_authority_without_certificates_is_refused() {
        assert!(
            client_config(Trust::Only(b"nothing"), None).unwrap_err().contains("`ca` holds no")
        );
    }
}
