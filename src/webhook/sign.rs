//! Signs deliveries as Standard Webhooks 1.0 has it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use zeroize::Zeroizing;

/// Bytes that the specification asks of a key.
const KEY_BYTES_MIN: usize = 24;

/// The key of one endpoint.
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
        let encoded = secret.trim().strip_prefix("whsec_").ok_or(SigningKeyError::Prefix)?;
        let bytes = STANDARD.decode(encoded).map_err(|_| SigningKeyError::Base64)?;
        let bytes = Zeroizing::new(bytes);
        if bytes.len() < KEY_BYTES_MIN {
            return Err(SigningKeyError::Short);
        }
        Ok(SigningKey(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }

    /// The `webhook-signature` of a body that is sent as `id` at
    /// `timestamp_seconds`.
    pub fn sign(&self, id: &str, timestamp_seconds: u64, body: &[u8]) -> String {
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
    fn the_published_crate_verifies_it() {
        let seconds = clock::now().0 / 1000;
        let body = br#"{"seq":1}"#;
        let mut headers = http::HeaderMap::new();
        let signature = SigningKey::parse(SECRET).unwrap().sign("evt_1", seconds, body);
        headers.insert("webhook-id", "evt_1".parse().unwrap());
        headers.insert("webhook-timestamp", seconds.to_string().parse().unwrap());
        headers.insert("webhook-signature", signature.parse().unwrap());
        let webhook = standardwebhooks::Webhook::new(SECRET).unwrap();
        webhook.verify(body, &headers).unwrap();
        assert!(webhook.verify(b"{}", &headers).is_err());
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
