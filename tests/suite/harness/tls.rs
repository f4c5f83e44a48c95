//! A throwaway certificate authority with one server certificate for loopback.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

/// PEM files in one directory.
#[derive(Clone, Debug)]
pub struct Tls {
    pub ca: PathBuf,
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Tls {
    /// Makes a new authority and a certificate for `localhost`, `127.0.0.1` and `names`.
    pub fn make(dir: &Path, names: &[&str]) -> Tls {
        std::fs::create_dir_all(dir).expect("a directory for certificates");
        let (ca, issuer) = authority();
        let key = KeyPair::generate().expect("a key");
        let certificate = server(names).signed_by(&key, &issuer).expect("a certificate");
        Tls {
            ca: super::write(dir.join("ca.pem"), ca),
            certificate: super::write(dir.join("server.pem"), certificate.pem()),
            key: super::write_private(dir.join("server.key"), key.serialize_pem()),
        }
    }
}

fn authority() -> (String, Issuer<'static, KeyPair>) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "rosterd throwaway CA");
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a certificate");
    (certificate.pem(), Issuer::new(params, key))
}

fn server(names: &[&str]) -> CertificateParams {
    let mut all = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    all.extend(names.iter().map(|&name| name.to_owned()));
    let mut params = CertificateParams::new(all).expect("valid names");
    params.distinguished_name.push(DnType::CommonName, "localhost");
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}
