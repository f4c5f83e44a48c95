//! Signs deliveries as directory sync of Ory Polis (BoxyHQ before) does.

use ring::hmac;
use zeroize::Zeroizing;

use super::sign;
use crate::clock::Timestamp;
use crate::digest;
use crate::model::EventKind;
use crate::secret::Secret;

/// Polis itself asks for nothing; less than this can be guessed.
const SECRET_BYTES_MIN: usize = 16;

/// The key of one endpoint. There is only one: receivers take the first or the
/// last `s=` of a header, so a second signature would be ignored or mistaken
/// for the first.
#[derive(Clone)]
pub struct PolisKey(hmac::Key);

/// Why a text is no secret. Says nothing of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolisKeyError {
    #[error("the secret is too short: {SECRET_BYTES_MIN} bytes at least")]
    Short,
    #[error("there is more than one line, and in the format `polis` only one secret can sign")]
    Lines,
}

impl PolisKey {
    /// Reads a secret: the text itself is the key.
    ///
    /// # Errors
    /// When it is too short, or more than one line.
    pub fn parse(secret: &str) -> Result<PolisKey, PolisKeyError> {
        let secret = secret.trim_end_matches(['\r', '\n']);
        if secret.contains(['\r', '\n']) {
            return Err(PolisKeyError::Lines);
        }
        if secret.trim().len() < SECRET_BYTES_MIN {
            return Err(PolisKeyError::Short);
        }
        Ok(PolisKey(hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes())))
    }

    /// The signature of a body that is sent at `now`:
    /// `t=<milliseconds>,s=<HMAC-SHA256 of "t.body" in hex>`, see
    /// <https://www.ory.com/docs/polis/directory-sync/webhooks>.
    pub fn sign(&self, now: Timestamp, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(format!("{}.", now.0).as_bytes());
        context.update(body);
        format!("t={},s={}", now.0, digest::hex(context.sign().as_ref()))
    }
}

impl std::fmt::Debug for PolisKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PolisKey(…)")
    }
}

/// Whether Polis has such events.
pub fn knows(kind: EventKind) -> bool {
    matches!(
        kind,
        EventKind::UserCreated
            | EventKind::UserUpdated
            | EventKind::UserDeleted
            | EventKind::GroupCreated
            | EventKind::GroupUpdated
            | EventKind::GroupDeleted
            | EventKind::GroupUserAdded
            | EventKind::GroupUserRemoved
    )
}

/// A new secret, 64 hex digits; `None` when the system has no randomness to give.
pub fn new_secret() -> Option<Secret> {
    let key = sign::random_key()?;
    let digits = Zeroizing::new(digest::hex(&*key));
    Some(Secret::new(digits.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with `printf '%s' '1545010989801.{"a":1}' | openssl dgst -sha256
    /// -hmac '0123456789 abcdef'`.
    #[test]
    fn the_time_in_milliseconds_and_the_body_are_signed() {
        let key = PolisKey::parse("0123456789 abcdef\r\n").unwrap();
        assert_eq!(
            key.sign(Timestamp(1_545_010_989_801), br#"{"a":1}"#),
            "t=1545010989801,s=58a6ca753370390d37ed5be2968468b809c1bfcdaa3a1a3b252a815d000e15b4"
        );
    }

    #[test]
    fn what_is_no_secret_is_refused_without_showing_it() {
        let error = |text: &str| PolisKey::parse(text).unwrap_err();
        assert_eq!(error("0123456789abcde"), PolisKeyError::Short);
        assert_eq!(error("                "), PolisKeyError::Short);
        assert_eq!(error("0123456789abcdef\n0123456789abcdef"), PolisKeyError::Lines);
        assert_eq!(new_secret().unwrap().expose().len(), 64);
    }
}
