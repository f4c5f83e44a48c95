//! What policy engines are fed, in the form that each of them reads.
//!
//! | Room | Engine |
//! |---|---|
//! | [`cedar`] | Cedar: entities and their schema |
//! | [`pomerium`] | Pomerium: records in a databroker, a bundle over HTTP |

pub mod cedar;
pub mod pomerium;
