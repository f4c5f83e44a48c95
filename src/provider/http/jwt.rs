//! Signs JSON Web Tokens (RFC 7519) with keys from PEM files.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest;
use ring::rand::{SecureRandom, SystemRandom};
use ring::rsa::KeyPair as RsaKeyPair;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512,
    RSA_PSS_SHA256, RsaEncoding, RsaPublicKeyComponents,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Map, Value, json};

/// How a token is signed (RFC 7518, section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Es256,
    Es384,
}

impl Algorithm {
    /// As `alg` names it.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Rs256 => "RS256",
            Algorithm::Rs384 => "RS384",
            Algorithm::Rs512 => "RS512",
            Algorithm::Ps256 => "PS256",
            Algorithm::Es256 => "ES256",
            Algorithm::Es384 => "ES384",
        }
    }
}

/// A private key. Its `Debug` shows its kind only.
pub struct SigningKey(Kind);

enum Kind {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({}, …)", self.0.name())
    }
}

impl SigningKey {
    /// Reads the first private key of `pem`: RSA in PKCS#8 or PKCS#1, or EC
    /// (P-256, P-384) in PKCS#8 or SEC 1.
    ///
    /// # Errors
    /// In words that show nothing of the text, when no such key is in there.
    pub fn from_pem(pem: &str) -> Result<SigningKey, String> {
        // The library's error may show parts of the text.
        let der = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| why_no_key(pem))?;
        let kind = match &der {
            PrivateKeyDer::Pkcs8(der) => from_pkcs8(der.secret_pkcs8_der()),
            PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der())
                .map(Kind::Rsa)
                .map_err(|error| unusable("RSA", error)),
            PrivateKeyDer::Sec1(der) => from_sec1(der.secret_sec1_der()),
            _ => Err("the private key is of a kind that is not supported".to_owned()),
        };
        kind.map(SigningKey)
    }

    /// A fresh P-256 key, for proofs of possession.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn generate_es256() -> Result<SigningKey, String> {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random)
            .map_err(|_| "no key can be made: the system has no randomness".to_owned())?;
        from_pkcs8(document.as_ref()).map(SigningKey)
    }

    /// The algorithm that servers expect of such a key.
    pub fn natural(&self) -> Algorithm {
        match self.0 {
            Kind::Rsa(_) => Algorithm::Rs256,
            Kind::P256(_) => Algorithm::Es256,
            Kind::P384(_) => Algorithm::Es384,
        }
    }

    /// A signed token in compact form. `header` stands beside `alg` and may
    /// replace `typ`.
    ///
    /// # Errors
    /// When the key is of another kind than `algorithm` needs.
    pub fn sign(
        &self,
        algorithm: Algorithm,
        header: &Map<String, Value>,
        claims: &Map<String, Value>,
    ) -> Result<String, String> {
        let mut whole = Map::from_iter([("typ".to_owned(), json!("JWT"))]);
        whole.extend(header.clone());
        whole.insert("alg".to_owned(), json!(algorithm.name()));
        let mut token = format!("{}.{}", encode_json(whole), encode_json(claims.clone()));
        let signature = self.signature(algorithm, token.as_bytes())?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }

    /// The public half as a JSON Web Key (RFC 7517), with nothing but what its
    /// thumbprint (RFC 7638) is made of.
    pub fn public_jwk(&self) -> Value {
        match &self.0 {
            Kind::Rsa(key) => {
                let public = RsaPublicKeyComponents::<Vec<u8>>::from(key.public());
                json!({ "kty": "RSA", "n": encode(&public.n), "e": encode(&public.e) })
            }
            Kind::P256(key) => ec_jwk("P-256", key.public_key().as_ref()),
            Kind::P384(key) => ec_jwk("P-384", key.public_key().as_ref()),
        }
    }

    fn signature(&self, algorithm: Algorithm, message: &[u8]) -> Result<Vec<u8>, String> {
        let random = SystemRandom::new();
        let failed = |_| "signing failed".to_owned();
        match (&self.0, algorithm) {
            (Kind::P256(key), Algorithm::Es256) | (Kind::P384(key), Algorithm::Es384) => {
                key.sign(&random, message).map(|signed| signed.as_ref().to_vec()).map_err(failed)
            }
            (Kind::Rsa(key), algorithm) => {
                let padding = rsa_padding(algorithm).ok_or_else(|| self.misfit(algorithm))?;
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(padding, &random, message, &mut signature).map_err(failed)?;
                Ok(signature)
            }
            _ => Err(self.misfit(algorithm)),
        }
    }

    fn misfit(&self, algorithm: Algorithm) -> String {
        let (kind, natural) = (self.0.name(), self.natural().name());
        format!("the {kind} key cannot sign with {}; it is for {natural}", algorithm.name())
    }
}

impl Kind {
    fn name(&self) -> &'static str {
        match self {
            Kind::Rsa(_) => "RSA",
            Kind::P256(_) => "EC P-256",
            Kind::P384(_) => "EC P-384",
        }
    }
}

/// SHA-256 of the first certificate in `pem`, as `x5t#S256` wants it.
///
/// # Errors
/// In words, when `pem` holds no certificate.
pub fn certificate_thumbprint_sha256(pem: &str) -> Result<[u8; 32], String> {
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes())
        .map_err(|_| "the file holds no certificate in PEM".to_owned())?;
    let digest = digest::digest(&digest::SHA256, &certificate);
    digest.as_ref().try_into().map_err(|_| "the digest has another length".to_owned())
}

/// A fresh `jti`: nobody can guess it, or use it up before its time.
///
/// # Errors
/// In words, when the system has no random numbers.
pub fn token_id() -> Result<String, String> {
    let mut bytes = [0; 16];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| "the system has no random numbers".to_owned())?;
    Ok(uuid::Builder::from_random_bytes(bytes).into_uuid().to_string())
}

fn from_pkcs8(der: &[u8]) -> Result<Kind, String> {
    match RsaKeyPair::from_pkcs8(der) {
        Ok(key) => return Ok(Kind::Rsa(key)),
        Err(error) if error.to_string() != "WrongAlgorithm" => return Err(unusable("RSA", error)),
        Err(_) => {}
    }
    let p256 = match ec(&ECDSA_P256_SHA256_FIXED_SIGNING, der) {
        Ok(key) => return Ok(Kind::P256(key)),
        Err(error) => error,
    };
    match ec(&ECDSA_P384_SHA384_FIXED_SIGNING, der) {
        Ok(key) => Ok(Kind::P384(key)),
        Err(p384) => match (p256.to_string().as_str(), p384.to_string().as_str()) {
            ("WrongAlgorithm", "WrongAlgorithm") => {
                Err("the private key is neither RSA nor EC on the curves P-256 or P-384".to_owned())
            }
            ("WrongAlgorithm", _) => Err(unusable("EC P-384", p384)),
            _ => Err(unusable("EC P-256", p256)),
        },
    }
}

/// Wraps an `ECPrivateKey` (RFC 5915) into PKCS#8 (RFC 5958) for the curve
/// that its parameters name.
fn from_sec1(der: &[u8]) -> Result<Kind, String> {
    let curve = match () {
        () if contains(der, OID_P256) => OID_P256,
        () if contains(der, OID_P384) => OID_P384,
        () => return Err("the EC key is on neither of the curves P-256 and P-384".to_owned()),
    };
    let version = tagged(0x02, &[0]);
    let algorithm = tagged(0x30, &[OID_EC_PUBLIC_KEY, curve].concat());
    let parts = [version, algorithm, tagged(0x04, der)].concat();
    from_pkcs8(&zeroize::Zeroizing::new(tagged(0x30, &parts)))
}

fn ec(
    algorithm: &'static EcdsaSigningAlgorithm,
    der: &[u8],
) -> Result<EcdsaKeyPair, ring::error::KeyRejected> {
    EcdsaKeyPair::from_pkcs8(algorithm, der, &SystemRandom::new())
}

/// `id-ecPublicKey`, `prime256v1` and `secp384r1` (RFC 5480), with tag and length.
const OID_EC_PUBLIC_KEY: &[u8] = &[6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
const OID_P256: &[u8] = &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
const OID_P384: &[u8] = &[6, 5, 0x2b, 0x81, 4, 0, 0x22];

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// One element of DER, shorter than 64 KiB.
fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let [high, low] = (content.len() as u16).to_be_bytes();
    let mut element = match (high, low) {
        (0, 0..=127) => vec![tag, low],
        (0, _) => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    element.extend_from_slice(content);
    element
}

fn rsa_padding(algorithm: Algorithm) -> Option<&'static dyn RsaEncoding> {
    match algorithm {
        Algorithm::Rs256 => Some(&RSA_PKCS1_SHA256),
        Algorithm::Rs384 => Some(&RSA_PKCS1_SHA384),
        Algorithm::Rs512 => Some(&RSA_PKCS1_SHA512),
        Algorithm::Ps256 => Some(&RSA_PSS_SHA256),
        Algorithm::Es256 | Algorithm::Es384 => None,
    }
}

fn unusable(kind: &str, error: ring::error::KeyRejected) -> String {
    match error.to_string().as_str() {
        "TooSmall" => format!("the {kind} key is shorter than 2048 bits"),
        "TooLarge" => format!("the {kind} key is longer than 4096 bits"),
        // Some tools leave out the public half, which RFC 5915 allows.
        "InvalidEncoding" if kind != "RSA" => format!(
            "the {kind} key is damaged or lacks its public half; `openssl pkey -in old.pem -out new.pem` adds it"
        ),
        reason => format!("the {kind} key is of no use ({reason})"),
    }
}

/// Says what stands in the place of a private key.
fn why_no_key(pem: &str) -> String {
    let convert = "`openssl pkey -in old.pem -out new.pem`";
    if pem.contains("ENCRYPTED") {
        format!("the private key is encrypted with a passphrase; {convert} takes it off")
    } else if pem.contains("OPENSSH PRIVATE KEY") {
        "the private key is in OpenSSH's own format; `ssh-keygen -p -m PEM -f KEY` converts it"
            .into()
    } else if pem.contains("PRIVATE KEY-----") {
        "the private key is damaged".to_owned()
    } else if pem.contains("PUBLIC KEY-----") {
        "this is a public key; the private key is needed".to_owned()
    } else if pem.contains("CERTIFICATE-----") {
        "this is a certificate; its private key is needed".to_owned()
    } else {
        "there is no private key in PEM (`-----BEGIN PRIVATE KEY-----`)".to_owned()
    }
}

fn ec_jwk(curve: &str, point: &[u8]) -> Value {
    // Uncompressed: 4, then both coordinates (SEC 1, section 2.3.3).
    let coordinates = point.get(1..).unwrap_or_default();
    let (x, y) = coordinates.split_at(coordinates.len() / 2);
    json!({ "kty": "EC", "crv": curve, "x": encode(x), "y": encode(y) })
}

fn encode_json(object: Map<String, Value>) -> String {
    encode(Value::Object(object).to_string().as_bytes())
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests;
