//! TOML to typed values, with every mistake at once; the only room that reads
//! configuration files and the environment.

pub mod duration;
mod fingerprint;
mod mask;
mod nearest;
mod report;
pub mod section;
mod source;

pub use fingerprint::Fingerprint;
pub use report::{Mistake, Place, Report};
pub use section::Section;
pub use source::{File, Surroundings};
