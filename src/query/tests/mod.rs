//! The query room as a whole: every route over a small view, and real sockets
//! with clients that mean harm.

mod audit;
mod clients;
mod feed;
mod filters;
mod fixture;
mod history;
mod opa;
mod overtaken;
mod past;
mod readers;
mod routes;
mod sockets;
mod watching;
mod webhooks;
