//! Signs deliveries as Standard Webhooks 1.0 has it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use crate::secret::Secret;

/// Bytes that the specification asks of a key.
const KEY_BYTES_MIN: usize = 24;

/// Secrets that may sign at the same time.
pub const SECRETS_MAX: usize = 5;

/// The keys of one endpoint, the newest first. Never empty.
#[derive(Clone, Debug)]
pub struct SigningKeys(Vec<SigningKey>);

/// What is wrong with a text of secrets. Says nothing of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SigningKeysError {
    #[error("there is no secret")]
    None,
    #[error("there are {0} secrets, and at most {SECRETS_MAX} sign at the same time")]
    TooMany(usize),
    #[error("{0}")]
    Only(SigningKeyError),
    /// `at` counts from 1.
    #[error("secret {at} of {of}: {reason}")]
    One { at: usize, of: usize, reason: SigningKeyError },
}

impl SigningKeys {
    /// Reads one or more of `whsec_…`, separated by white space, the newest first.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn parse(secrets: &str) -> Result<SigningKeys, Vec<SigningKeysError>> {
        let of = secrets.split_whitespace().count();
        let mut keys = Vec::new();
        let mut errors = Vec::new();
        for (at, secret) in (1..).zip(secrets.split_whitespace()) {
            match SigningKey::parse(secret) {
                Ok(key) => keys.push(key),
                Err(reason) if of == 1 => errors.push(SigningKeysError::Only(reason)),
                Err(reason) => errors.push(SigningKeysError::One { at, of, reason }),
            }
        }
        match of {
            0 => errors.push(SigningKeysError::None),
            of if of > SECRETS_MAX => errors.push(SigningKeysError::TooMany(of)),
            _ => {}
        }
        if errors.is_empty() { Ok(SigningKeys(keys)) } else { Err(errors) }
    }

    /// The `webhook-signature`: one of each key, so that a receiver that knows
    /// any of them can verify it.
    pub fn sign(&self, id: &str, timestamp_seconds: u64, body: &[u8]) -> String {
        let sign = |key: &SigningKey| key.sign(id, timestamp_seconds, body);
        self.0.iter().map(sign).collect::<Vec<_>>().join(" ")
    }
}

/// A new secret like those that [`SigningKeys::parse`] reads; `None` when the
/// system has no randomness to give.
pub fn new_secret() -> Option<Secret> {
    let encoded = Zeroizing::new(STANDARD.encode(random_key()?));
    Some(Secret::new(format!("whsec_{}", *encoded)))
}

/// 256 random bits.
pub(super) fn random_key() -> Option<Zeroizing<[u8; 32]>> {
    let mut bytes = Zeroizing::new([0; 32]);
    SystemRandom::new().fill(&mut *bytes).ok()?;
    Some(bytes)
}

/// One key of an endpoint.
#[derive(Clone)]
pub struct SigningKey(hmac::Key);

/// Why a text is no key. Says nothing of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SigningKeyError {
    #[error("the secret must start with `whsec_`")]
    Prefix,
    #[error("the secret must be base64 after `whsec_`")]
    Base64,
    #[error("the secret is too short: {KEY_BYTES_MIN} bytes at least, before base64")]
    Short,
}

impl SigningKey {
    /// Reads `whsec_…`.
    ///
    /// # Errors
    /// When it is none, or too short.
    pub fn parse(secret: &str) -> Result<SigningKey, SigningKeyError> {
        let encoded = secret.strip_prefix("whsec_").ok_or(SigningKeyError::Prefix)?;
        let bytes = STANDARD.decode(encoded).map_err(|_| SigningKeyError::Base64)?;
        let bytes = Zeroizing::new(bytes);
        if bytes.len() < KEY_BYTES_MIN {
            return Err(SigningKeyError::Short);
        }
        Ok(SigningKey(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }

    /// One signature of a body that is sent as `id` at `timestamp_seconds`.
    fn sign(&self, id: &str, timestamp_seconds: u64, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(format!("{id}.{timestamp_seconds}.").as_bytes());
        context.update(body);
        format!("v1,{}", STANDARD.encode(context.sign()))
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    #[test]
    fn the_example_of_the_specification() {
        let signature = SigningKey::parse(SECRET).unwrap().sign(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn whoever_knows_one_of_the_secrets_can_verify() {
        let [newest, older] = [(); 2].map(|()| new_secret().unwrap());
        let keys = format!("{}\n {}\n", newest.expose(), older.expose());
        let seconds = clock::now().0 / 1000;
        let body = br#"{"seq":1}"#;
        let mut headers = http::HeaderMap::new();
        let signature = SigningKeys::parse(&keys).unwrap().sign("evt_1", seconds, body);
        headers.insert("webhook-id", "evt_1".parse().unwrap());
        headers.insert("webhook-timestamp", seconds.to_string().parse().unwrap());
        headers.insert("webhook-signature", signature.parse().unwrap());
        let verify = |secret: &str, body: &[u8]| {
            standardwebhooks::Webhook::new(secret).unwrap().verify(body, &headers).is_ok()
        };
        assert!(verify(newest.expose(), body) && verify(older.expose(), body));
        assert!(!verify(newest.expose(), b"{}") && !verify(SECRET, body));
    }

    #[test]
    fn the_newest_signs_first() {
        let signature = |keys: &str| SigningKeys::parse(keys).unwrap().sign("m", 1, b"{}");
        let other = new_secret().unwrap();
        let (first, second) = (signature(SECRET), signature(other.expose()));
        assert_eq!(signature(&format!("{SECRET} {}", other.expose())), format!("{first} {second}"));
    }

    #[test]
    fn every_mistaken_secret_is_named_by_its_position_and_not_shown() {
        let errors = |text: &str| {
            let errors = SigningKeys::parse(text).unwrap_err();
            errors.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(
            errors(&format!("whsec_c2hvcnQ= {SECRET}\nMfKQ9r8GKYqr")),
            [
                "secret 1 of 3: the secret is too short: 24 bytes at least, before base64",
                "secret 3 of 3: the secret must start with `whsec_`",
            ]
        );
        assert_eq!(errors("MfKQ9r8GKYqr"), ["the secret must start with `whsec_`"]);
        assert_eq!(errors(" \n"), ["there is no secret"]);
        assert_eq!(
            errors(&format!("{SECRET} ").repeat(6)),
            ["there are 6 secrets, and at most 5 sign at the same time"]
        );
    }

    #[test]
    fn what_is_no_key_is_refused_without_showing_it() {
        for (text, error) in [
            ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", SigningKeyError::Prefix),
            ("whsec_???", SigningKeyError::Base64),
            ("whsec_c2hvcnQ=", SigningKeyError::Short),
        ] {
            assert_eq!(SigningKey::parse(text).unwrap_err(), error);
        }
    }
}
