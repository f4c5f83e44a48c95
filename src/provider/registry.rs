//! The kinds of providers: one line each.

use super::Settings;
use crate::config::Section;

/// Reads the `provider.KIND` block of a directory; `None` when it noted a mistake.
pub type Read = fn(&mut Section<'_>) -> Option<Box<dyn Settings>>;

/// Every kind by the name of its block.
pub const KINDS: &[(&str, Read)] = &[];
