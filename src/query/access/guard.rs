//! What is asked of every request over TCP, where no file mode keeps anybody out:
//! that it was not led here by a foreign name, and a token.

use http::header::{AUTHORIZATION, HOST, HeaderValue};
use http::{Request, StatusCode};

use super::seat::{Asker, Seat};
use crate::query::problem::Problem;
use crate::secret::Secret;

/// Lets a request through, and says who asks.
///
/// # Errors
/// When a browser was led here by a foreign name, or the token is wrong.
pub fn admit<B>(seat: &Seat, request: &Request<B>) -> Result<Asker, Problem> {
    if !is_for_us(request) {
        let detail = "the `Host` header must be localhost, 127.0.0.1 or [::1]";
        return Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, "misdirected", detail));
    }
    let bearer = bearer(request).and_then(|given| seat.bearer(&given));
    // As the router, the path as it was sent: another spelling leads nowhere.
    let is_free = || request.uri().path() == "/healthz";
    bearer.or_else(|| is_free().then(|| seat.asker())).ok_or_else(Problem::unauthorized)
}

/// A page of a foreign site reaches a loopback port by a name of its own that
/// resolves to it (DNS rebinding); the name is then all over the request. Every
/// name in it has to be ours, in the request target too, and there has to be one.
fn is_for_us<B>(request: &Request<B>) -> bool {
    let text = |value: &HeaderValue| value.to_str().ok().is_some_and(is_loopback);
    let hosts = request.headers().get_all(HOST);
    let target = request.uri().authority().map(|authority| is_loopback(authority.as_str()));
    let is_named = target.is_some() || hosts.iter().next().is_some();
    is_named && target.unwrap_or(true) && hosts.iter().all(text)
}

/// The token of the one `Authorization` header; of several none is right.
fn bearer<B>(request: &Request<B>) -> Option<Secret> {
    let mut all = request.headers().get_all(AUTHORIZATION).into_iter();
    let value = all.next().filter(|_| all.next().is_none())?;
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| Secret::new(token.trim().to_owned()))
}

fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    let address = bare.unwrap_or(name).parse::<std::net::IpAddr>();
    let is_bracketed = |address: &std::net::IpAddr| address.is_ipv6() == bare.is_some();
    name.eq_ignore_ascii_case("localhost")
        || address.is_ok_and(|address| is_bracketed(&address) && address.is_loopback())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::{Access, AccessConfig, Peer, Permission, Permissions, TokenRule};
    use super::*;

    fn seat() -> Seat {
        let rule = |name: &str, secret: &str, permissions| TokenRule {
            name: name.into(),
            secret: Secret::new(secret.into()),
            permissions,
        };
        let tokens = vec![
            rule("query.token", "t0ken", Permissions::ALL),
            rule("query.tokens.opa", "an0ther", Permission::Ask.into()),
        ];
        let access = Access::new(&AccessConfig { tokens, ..AccessConfig::default() });
        Seat::new(access, Peer::Tcp("127.0.0.1:9".parse().unwrap()))
    }

    fn outcome(request: http::request::Builder) -> u16 {
        let outcome = admit(&seat(), &request.body(()).unwrap());
        outcome.map_or_else(|problem| problem.status().as_u16(), |_| 200)
    }

    fn asked(host: &str, authorization: Option<&str>) -> u16 {
        let mut request = Request::builder().uri("/v1/users").header(HOST, host);
        if let Some(value) = authorization {
            request = request.header(AUTHORIZATION, value);
        }
        outcome(request)
    }

    #[test]
    fn only_tokens_and_loopback_names_are_let_in() {
        assert_eq!(asked("localhost:7411", Some("Bearer t0ken")), 200);
        assert_eq!(asked("127.0.0.1", Some("bearer t0ken")), 200);
        assert_eq!(asked("[::1]:7411", Some("Bearer an0ther")), 200);
        for wrong in ["Bearer t0ke", "Bearer t0ken0", "Bearer ", "Bearer", "Basic t0ken", "t0ken"] {
            assert_eq!(asked("localhost", Some(wrong)), 401, "{wrong}");
        }
        assert_eq!(asked("localhost", None), 401);
        for foreign in [
            "evil.example.org",
            "localhost.evil.example.org:80",
            "127.0.0.1.evil.example.org",
            "127.0.0.1@evil.example.org",
            "evil.example.org#localhost",
            "evil:127.0.0.1",
            "localhost, evil.example.org",
            "[127.0.0.1]",
            "::1",
            "[[::1]]",
            "0.0.0.0",
            "",
        ] {
            assert_eq!(asked(foreign, Some("Bearer t0ken")), 421, "{foreign}");
        }
    }

    #[test]
    fn every_name_of_a_request_counts() {
        let token = || Request::builder().header(AUTHORIZATION, "Bearer t0ken");
        let (good, bad) = ("localhost", "evil.example.org");
        assert_eq!(outcome(token().uri("/v1/users").header(HOST, good).header(HOST, bad)), 421);
        assert_eq!(outcome(token().uri("/v1/users").header(HOST, bad).header(HOST, good)), 421);
        assert_eq!(outcome(token().uri("/v1/users")), 421);
        // The absolute form, and `:authority` of HTTP/2.
        let target = |name: &str| token().uri(format!("http://{name}/v1/users"));
        assert_eq!(outcome(target(good)), 200);
        assert_eq!(outcome(target(bad)), 421);
        assert_eq!(outcome(target(bad).header(HOST, good)), 421);
        assert_eq!(outcome(target(good).header(HOST, bad)), 421);
        assert_eq!(outcome(target("localhost@evil.example.org")), 421);
        assert_eq!(outcome(target("evil.example.org@localhost")), 421);
    }

    #[test]
    fn of_two_tokens_none_is_right() {
        let request = Request::builder().uri("/v1/users").header(HOST, "localhost");
        let request = request.header(AUTHORIZATION, "Bearer t0ken");
        assert_eq!(outcome(request.header(AUTHORIZATION, "Bearer an0ther")), 401);
    }

    #[test]
    fn without_a_token_nothing_but_the_pulse_is_told() {
        let ask = |path: &str| outcome(Request::builder().uri(path).header(HOST, "localhost"));
        assert_eq!(ask("/healthz"), 200);
        for path in ["/readyz", "/metrics", "/v1/check", "//healthz", "/healthz/", "/healthz/../x"]
        {
            assert_eq!(ask(path), 401, "{path}");
        }
    }

    #[test]
    fn a_token_has_its_own_permissions_and_name() {
        let ask = |token: &str| {
            let request = Request::builder().uri("/v1/users").header(HOST, "localhost");
            let request = request.header(AUTHORIZATION, format!("Bearer {token}"));
            admit(&seat(), &request.body(()).unwrap()).unwrap()
        };
        let (all, opa) = (ask("t0ken"), ask("an0ther"));
        assert_eq!(
            (all.permissions, all.token),
            (Permissions::ALL, Some(Arc::from("query.token")))
        );
        assert_eq!(opa.permissions, Permission::Ask.into());
        assert_eq!(opa.token.as_deref(), Some("query.tokens.opa"));
    }
}
