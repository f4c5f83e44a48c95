//! Everything that reads bytes of strangers, for the fuzz targets and for the
//! test that feeds their corpus again. Not in the product.
//!
//! Each takes any bytes and must neither panic nor hang; where more can be
//! asked (what was read can be written and read again), it is.

use crate::config::{Config, section};
use crate::{provider, query, store, sync};

/// Takes any bytes.
pub type Feed = fn(&[u8]);

/// A name for `fuzz/fuzz_targets` and `fuzz/corpus`, and what is fed.
pub const TARGETS: [(&str, Feed); 10] = [
    ("configuration", configuration),
    ("query", query::fuzz::feed),
    ("records", store::fuzz::feed),
    ("pages", pages),
    ("ldap", provider::ldap::fuzz::feed),
    ("bundle", provider::bundle::fuzz::feed),
    ("entra", provider::entra::fuzz::feed),
    ("google", provider::google::fuzz::feed),
    ("okta", provider::okta::fuzz::feed),
    ("github", provider::github::fuzz::feed),
];

/// Feeds one target.
///
/// # Panics
/// When there is none of that name, or when the bytes break something.
pub fn feed(target: &str, bytes: &[u8]) {
    let found = TARGETS.iter().find(|(name, _)| *name == target);
    assert!(found.is_some(), "no target is called {target}");
    found.into_iter().for_each(|(_, feed)| feed(bytes));
}

/// A configuration file; a refusal must be printable and tell no secret.
fn configuration(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    // Naming files and variables is the business of other tests.
    if ["file", "ca", "path", "credential", "env"].iter().any(|key| text.contains(key)) {
        return;
    }
    let read = section::read_text(text, |root| Config::read(root, provider::registry::KINDS));
    if let Err(report) = read {
        assert!(!report.to_string().is_empty());
    }
}

/// A page of a checkpoint; what was read can be written, and is then read the same.
fn pages(bytes: &[u8]) {
    if let Ok(page) = sync::pages::decode(bytes) {
        let again = sync::pages::encode(&page);
        let read = sync::pages::decode(&again);
        assert!(read.is_ok_and(|read| sync::pages::encode(&read) == again));
    }
}

/// A configuration of one provider, for feeding what it reads.
pub(crate) fn settings<T>(
    text: &str,
    read: impl FnOnce(&mut section::Section<'_>) -> Option<T>,
) -> Option<T> {
    let settings = section::read_text(text, read);
    assert!(settings.is_ok(), "{:?}", settings.err().map(|report| report.to_string()));
    settings.ok()
}

/// The bytes as JSON, as far as they are.
pub(crate) fn json(bytes: &[u8]) -> Option<serde_json::Value> {
    serde_json::from_slice(bytes).ok()
}

/// An answer with the bytes as its body.
pub(crate) fn answer(bytes: &[u8], url: &str) -> Option<provider::http::Answer> {
    Some(provider::http::Answer {
        status: http::StatusCode::OK,
        headers: http::HeaderMap::new(),
        body: bytes::Bytes::copy_from_slice(bytes),
        url: url::Url::parse(url).ok()?,
        received: crate::clock::Timestamp(0),
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// What the fuzzers found, and what reaches far, stays tried.
    #[test]
    fn the_corpus_of_every_target_is_read_without_harm() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
        for (target, feed) in TARGETS {
            let files: Vec<_> = std::fs::read_dir(corpus.join(target)).unwrap().collect();
            assert!(!files.is_empty(), "{target} has no corpus");
            for file in files {
                feed(&std::fs::read(file.unwrap().path()).unwrap());
            }
        }
    }
}
