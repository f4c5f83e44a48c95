//! What policy engines are fed, in the form that each of them reads.
//!
//! | Room | Engine |
//! |---|---|
//! | [`pomerium`] | Pomerium: records in a databroker, a bundle over HTTP |

pub mod pomerium;
