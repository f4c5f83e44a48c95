//! Who asks: headers for each request, and tokens that are fetched once.

use async_trait::async_trait;
use http::{HeaderName, HeaderValue};
use tokio::sync::Mutex;

use super::call::{Answer, Call};
use crate::clock::{self, Duration, Instant};
use crate::provider::PullError;
use crate::secret::Secret;

/// Says who asks.
#[async_trait]
pub trait Credential: Send + Sync {
    /// The headers for this very request.
    ///
    /// # Errors
    /// When no token can be had.
    async fn authorize(&self, call: &Call) -> Result<Authorization, PullError>;

    /// A request that carried `used` was refused with 401: whether it may be
    /// sent again, with a newer token, say.
    ///
    /// # Errors
    /// When no newer token can be had.
    async fn refused(&self, used: &Authorization, answer: &Answer) -> Result<bool, PullError>;
}

/// What a request carries to say who asks.
#[derive(Clone)]
pub struct Authorization {
    /// Marked as sensitive.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Of the token in it, so that many refusals lead to one renewal.
    pub generation: u64,
}

/// A header that never changes: an API token.
pub struct Fixed {
    name: HeaderName,
    value: HeaderValue,
}

impl Fixed {
    /// `prefix` stands before the secret: `SSWS `, `Bearer `.
    ///
    /// # Errors
    /// [`PullError::Misconfigured`] when the secret cannot be in a header.
    pub fn new(name: &'static str, value: &Secret, prefix: &str) -> Result<Fixed, PullError> {
        let name = HeaderName::from_static(name);
        let value = sensitive(&format!("{prefix}{}", value.expose()))?;
        Ok(Fixed { name, value })
    }
}

#[async_trait]
impl Credential for Fixed {
    async fn authorize(&self, _: &Call) -> Result<Authorization, PullError> {
        let headers = vec![(self.name.clone(), self.value.clone())];
        Ok(Authorization { headers, generation: 0 })
    }

    async fn refused(&self, _: &Authorization, _: &Answer) -> Result<bool, PullError> {
        Ok(false)
    }
}

/// An access token.
#[derive(Clone, Debug)]
pub struct Token {
    pub value: Secret,
    /// From the moment it was asked for; `None`: until it is refused.
    pub expires_in: Option<Duration>,
}

/// Fetches access tokens.
#[async_trait]
pub trait Grant: Send + Sync {
    /// # Errors
    /// When the token endpoint cannot be reached, or refuses.
    async fn grant(&self) -> Result<Token, PullError>;
}

/// Keeps a token, and fetches the next one before it expires, one at a time.
pub struct Tokens<G> {
    grant: G,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    token: Option<(Secret, Option<Instant>)>,
    generation: u64,
}

/// A token is renewed this long before it expires, or after four fifths of its
/// life when that is shorter than twenty-five minutes.
const EARLY_MAX: Duration = Duration::from_mins(5);
const LIFE_MIN: Duration = Duration::from_secs(30);
const LIFE_MAX: Duration = Duration::from_hours(24);

impl<G: Grant> Tokens<G> {
    /// Fetches nothing yet.
    pub fn new(grant: G) -> Tokens<G> {
        Tokens { grant, kept: Mutex::default() }
    }

    /// A token that is good for a while, and its generation.
    ///
    /// # Errors
    /// When there is none, and none can be had.
    pub async fn current(&self) -> Result<(Secret, u64), PullError> {
        let mut kept = self.kept.lock().await;
        let now = clock::instant();
        if let Some((token, renew_at)) = &kept.token
            && renew_at.is_none_or(|at| now < at)
        {
            return Ok((token.clone(), kept.generation));
        }
        let token = self.fetch(&mut kept).await?;
        Ok((token, kept.generation))
    }

    /// Fetches a new token, unless somebody did since `generation`.
    ///
    /// # Errors
    /// When none can be had.
    pub async fn renew(&self, generation: u64) -> Result<(), PullError> {
        let mut kept = self.kept.lock().await;
        if kept.generation == generation {
            self.fetch(&mut kept).await?;
        }
        Ok(())
    }

    async fn fetch(&self, kept: &mut Kept) -> Result<Secret, PullError> {
        let asked = clock::instant();
        let token = self.grant.grant().await?;
        let renew_at = token.expires_in.map(|life| asked + renew_after(life));
        kept.generation += 1;
        kept.token = Some((token.value.clone(), renew_at));
        Ok(token.value)
    }
}

#[async_trait]
impl<G: Grant> Credential for Tokens<G> {
    async fn authorize(&self, _: &Call) -> Result<Authorization, PullError> {
        let (token, generation) = self.current().await?;
        let value = sensitive(&format!("Bearer {}", token.expose()))?;
        Ok(Authorization { headers: vec![(http::header::AUTHORIZATION, value)], generation })
    }

    async fn refused(&self, used: &Authorization, _: &Answer) -> Result<bool, PullError> {
        self.renew(used.generation).await?;
        Ok(true)
    }
}

/// Whatever a token endpoint says, a token is used for a while, and not for ever.
fn renew_after(life: Duration) -> Duration {
    let life = life.clamp(LIFE_MIN, LIFE_MAX);
    life - EARLY_MAX.min(life / 5)
}

/// A header value that is not shown in logs.
///
/// # Errors
/// [`PullError::Misconfigured`] when it cannot be a header.
pub fn sensitive(text: &str) -> Result<HeaderValue, PullError> {
    let mut value = HeaderValue::from_str(text).map_err(|_| PullError::Misconfigured {
        what: "the credential".to_owned(),
        reason: "it holds characters that cannot be sent in a header".to_owned(),
        hint: "look for line breaks and blanks in the file of the secret".to_owned(),
    })?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// Grants `token 1`, `token 2`, …, each good for as long as it says.
    struct Numbered(AtomicU64, Duration);

    #[async_trait]
    impl Grant for Numbered {
        async fn grant(&self) -> Result<Token, PullError> {
            tokio::task::yield_now().await;
            let number = self.0.fetch_add(1, Ordering::SeqCst) + 1;
            let value = Secret::new(format!("token {number}"));
            Ok(Token { value, expires_in: Some(self.1) })
        }
    }

    fn tokens(life: Duration) -> Tokens<Numbered> {
        Tokens::new(Numbered(AtomicU64::new(0), life))
    }

    #[tokio::test]
    async fn r17_a_token_is_fetched_once_for_all() {
        let tokens = tokens(Duration::from_hours(1));
        let (first, second) = tokio::join!(tokens.current(), tokens.current());
        assert_eq!(first.unwrap().0.expose(), "token 1");
        assert_eq!(second.unwrap().0.expose(), "token 1");
    }

    #[tokio::test]
    async fn a_token_is_renewed_before_it_expires() {
        assert_eq!(renew_after(Duration::from_hours(1)), Duration::from_mins(55));
        assert_eq!(renew_after(Duration::from_mins(10)), Duration::from_mins(8));
        assert_eq!(renew_after(Duration::ZERO), Duration::from_secs(24));
        assert_eq!(renew_after(Duration::MAX), Duration::from_hours(24) - EARLY_MAX);
    }

    #[tokio::test]
    async fn many_refusals_of_one_token_fetch_one_new_one() {
        let tokens = tokens(Duration::from_hours(1));
        let (_, generation) = tokens.current().await.unwrap();
        let (first, second) = tokio::join!(tokens.renew(generation), tokens.renew(generation));
        first.and(second).unwrap();
        assert_eq!(tokens.current().await.unwrap().0.expose(), "token 2");
    }

    #[test]
    fn a_secret_that_cannot_be_sent_is_refused_without_showing_it() {
        let error =
            Fixed::new("authorization", &Secret::new("hunter2\n".into()), "").err().unwrap();
        assert!(!error.to_string().contains("hunter2"));
    }
}
