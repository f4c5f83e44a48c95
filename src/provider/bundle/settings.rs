//! The `provider.bundle` block.

use std::path::PathBuf;

use super::Bundle;
use crate::config::Section;
use crate::provider::{Directory, Patience, Settings};

/// How much all files of a bundle may hold together, unless said otherwise.
const SIZE_MAX_BYTES: u64 = 512 << 20;

/// `{ path = …, size_max = "512MiB" }`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleConfig {
    /// A directory, a JSON bundle or a zip.
    pub path: PathBuf,
    /// All files together, and what a zip unpacks to.
    pub size_max_bytes: u64,
    /// Keep every object as it was written.
    pub keep_raw: bool,
}

impl BundleConfig {
    /// Reads the block; `None` when it noted a mistake.
    pub fn read(section: &mut Section<'_>) -> Option<BundleConfig> {
        let path = section.required_path("path");
        let size_max_bytes = section.size("size_max").unwrap_or(SIZE_MAX_BYTES);
        let keep_raw = section.boolean("keep_raw").unwrap_or(false);
        Some(BundleConfig { path: path?, size_max_bytes, keep_raw })
    }
}

impl Settings for BundleConfig {
    fn kind(&self) -> &'static str {
        "bundle"
    }

    fn origin(&self) -> String {
        self.path.display().to_string()
    }

    fn fingerprint(&self) -> String {
        format!("bundle raw={} path={}", self.keep_raw, self.path.display())
    }

    fn open(&self, _patience: Patience) -> Box<dyn Directory> {
        Box::new(Bundle::new(self.clone()))
    }
}
