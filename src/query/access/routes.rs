//! Which permission a route takes: the one table of it.
//!
//! It is looked up by the pattern that the router matched, never by the path as
//! it was sent, so there is no spelling of a path that the table and the router
//! read differently. A route that is not here is refused to everyone, so whoever
//! adds one and forgets the table finds out with the first request.

use super::permission::Permission::{self, Ask, List, Operate, Watch};

/// What a route takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Nothing: it tells nothing about anybody.
    Nothing,
    /// One permission, whichever: it tells about the daemon, not about people.
    Any,
    Of(Permission),
}

/// Patterns as the router knows them; one that ends with `/` stands for all
/// that begin like it.
const ROUTES: &[(&str, Need)] = &[
    ("/healthz", Need::Nothing),
    ("/readyz", Need::Any),
    ("/metrics", Need::Any),
    ("/openapi.json", Need::Any),
    ("/.well-known/", Need::Any),
    ("/v1/check", Need::Of(Ask)),
    ("/v1/why", Need::Of(Ask)),
    ("/access/v1/", Need::Of(Ask)),
    ("/ext_authz/", Need::Of(Ask)),
    ("/envoy.service.auth.v3.Authorization/", Need::Of(Ask)),
    ("/v1/users", Need::Of(List)),
    ("/v1/users/", Need::Of(List)),
    ("/v1/groups", Need::Of(List)),
    ("/v1/groups/", Need::Of(List)),
    ("/v1/snapshot", Need::Of(List)),
    ("/v1/directories", Need::Of(List)),
    ("/v1/directories/{name}", Need::Of(List)),
    ("/v1/opa", Need::Of(Operate)),
    ("/v1/opa/", Need::Of(List)),
    ("/v1/cedar/", Need::Of(List)),
    ("/v1/pomerium/", Need::Of(List)),
    ("/v1/events", Need::Of(Watch)),
    ("/v1/audit", Need::Of(Watch)),
    ("/v1/directories/", Need::Of(Operate)),
    ("/v1/webhooks", Need::Of(Operate)),
    ("/v1/webhooks/", Need::Of(Operate)),
];

/// What the route of this pattern takes; `None` when the table does not know it.
pub fn need(pattern: &str) -> Option<Need> {
    let exact = ROUTES.iter().find(|(route, _)| *route == pattern);
    let below = || ROUTES.iter().find(|(r, _)| r.ends_with('/') && pattern.starts_with(r));
    exact.or_else(below).map(|(_, need)| *need)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_pattern_goes_before_its_beginning() {
        assert_eq!(need("/v1/directories/{name}"), Some(Need::Of(List)));
        assert_eq!(need("/v1/directories/{name}/hold"), Some(Need::Of(Operate)));
        assert_eq!(need("/v1/checks"), None);
        assert_eq!(need("/v1/check/"), None);
        assert_eq!(need(""), None);
    }

    /// As docs/access.md tells it.
    #[test]
    fn every_request_of_the_contract_takes_what_is_documented() {
        for (permission, patterns) in [
            (Ask, "/v1/check /v1/why /access/v1/evaluation /access/v1/evaluations"),
            (List, "/v1/users /v1/users/{ref} /v1/users/{ref}/groups /v1/users/{ref}/history"),
            (List, "/v1/groups /v1/groups/{ref} /v1/groups/{ref}/members /v1/groups/{ref}/history"),
            (List, "/v1/snapshot /v1/directories /v1/directories/{name}"),
            (List, "/v1/opa/bundle.tar.gz /v1/cedar/entities /v1/pomerium/bundle.zip"),
            (Watch, "/v1/events /v1/audit"),
            (Operate, "/v1/directories/{name}/sync /v1/directories/{name}/plan"),
            (Operate, "/v1/directories/{name}/hold /v1/directories/{name}/hold/{id}/approve"),
            (Operate, "/v1/directories/{name}/hold/{id}/reject /v1/webhooks /v1/webhooks/{name}"),
            (Operate, "/v1/webhooks/{name}/deliveries /v1/webhooks/{name}/clear"),
        ] {
            for pattern in patterns.split(' ') {
                assert_eq!(need(pattern), Some(Need::Of(permission)), "{pattern}");
            }
        }
        assert_eq!(need("/healthz"), Some(Need::Nothing));
        for pattern in ["/readyz", "/metrics", "/openapi.json"] {
            assert_eq!(need(pattern), Some(Need::Any), "{pattern}");
        }
    }

    /// Otherwise the order of the table would decide.
    #[test]
    fn no_beginning_stands_within_another() {
        let beginnings = || ROUTES.iter().filter(|(route, _)| route.ends_with('/'));
        for (one, _) in beginnings() {
            let within = beginnings().filter(|(other, _)| other.starts_with(one));
            assert_eq!(within.count(), 1, "{one}");
        }
    }
}
