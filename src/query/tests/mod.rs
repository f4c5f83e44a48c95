//! The query room as a whole: every route over a small view, and real sockets
//! with clients that mean harm.

mod answered;
mod audit;
mod authzen;
mod clients;
mod feed;
mod filters;
pub(super) mod fixture;
mod history;
mod http2;
mod narrowing;
mod opa;
mod overtaken;
mod past;
mod permissions;
mod readers;
mod routes;
mod sockets;
mod watching;
mod webhooks;
