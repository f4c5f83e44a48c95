//! What policy engines are fed, each in its own form.
//!
//! | Module | For |
//! |---|---|
//! | [`cedar`] | Cedar: entities and their schema |
//! | [`opa`] | Open Policy Agent: bundles, deltas, and a pusher |
//! | [`pomerium`] | Pomerium: records in a databroker, a bundle over HTTP |

pub mod cedar;
pub mod opa;
pub mod pomerium;
