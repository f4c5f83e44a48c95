//! What policy engines are fed, each in its own form.
//!
//! | Module | For |
//! |---|---|
//! | [`opa`] | Open Policy Agent: bundles, deltas, and a pusher |

pub mod opa;
