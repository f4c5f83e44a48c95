//! HTTP over the unix socket, and over loopback TCP where that is configured.
//!
//! All of it runs on one thread with a runtime of its own, away from pollers.
//! `GET /v1/check` is answered on that thread without a router; what may take
//! longer is done aside, so that nothing holds up a check.
//!
//! | File | What it holds |
//! |---|---|
//! | `config` | the `[query]` table |
//! | `listener` | taking the socket, and only the socket |
//! | `server`, `http2`, `connections`, `watched` | accepting, limits of patience, draining |
//! | `service` | one request: the short way for checks, the router for the rest |
//! | `access` | who may do what: permissions, rules, tokens, and which route takes which |
//! | `denials` | who was refused, for the audit trail |
//! | `router` | which request goes where |
//! | `openapi` | the description of all requests and answers |
//! | `check`, `objects`, `events`, `audit`, `snapshot`, `directories`, `changes`, `webhooks`, `metrics` | the answers |
//! | `authzen`, `ext_authz` | decisions for enforcement points, by `policies` and `decision` |
//! | `cedar`, `opa`, `pomerium` | what policy engines are fed |
//! | `parameters`, `filter`, `scope`, `resolve`, `page`, `past`, `lives`, `freshness`, `listing`, `directory`, `entity_tag`, `problem` | what answers are made of |
//! | `sources`, `journal`, `stored` | what they are made from |

mod access;
mod audit;
mod authzen;
mod biography;
mod cedar;
mod changes;
mod check;
mod config;
mod connections;
mod decision;
mod denials;
mod directories;
mod directory;
mod entity_tag;
mod events;
mod ext_authz;
mod filter;
mod freshness;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod http2;
mod journal;
mod listener;
mod listing;
mod lists_at;
mod lives;
mod metrics;
mod objects;
mod opa;
mod openapi;
mod page;
mod parameters;
mod past;
mod policies;
mod pomerium;
mod problem;
mod resolve;
mod router;
mod scope;
mod server;
mod service;
mod snapshot;
mod sources;
mod stored;
#[cfg(test)]
mod tests;
mod watched;
mod webhooks;

pub use access::{Access, AccessConfig, PeerRule, Permission, Permissions, TokenRule};
pub use audit::Wanted;
pub use config::{DEFAULT_SOCKET, QueryConfig};
pub use journal::{Journal, JournalError};
pub use listener::{ListenError, Listeners};
pub use opa::Directories;
pub use policies::{AuthzenConfig, Policies, Policy, SharedPolicies};
pub use server::{Limits, Running, run, start};
pub use sources::{
    AuditTrail, Backlog, Endpoint, EndpointSettings, Endpoints, HeldChanges, Operator,
    OperatorError, Page, Plan, Sources,
};
