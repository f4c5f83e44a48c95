//! Feeds what reads requests.

use super::check::read_batch;
use super::page::Page;
use super::parameters::Parameters;

const KNOWN: [&str; 10] =
    ["user", "group", "max_age", "at", "nested", "limit", "cursor", "after", "wait", "directory"];

/// A query string, and the body of a batch of checks.
pub fn feed(bytes: &[u8]) {
    let _ = read_batch(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(parameters) = Parameters::parse(Some(text), &KNOWN) else { return };
    let _ = (parameters.required("user"), parameters.text("group"), parameters.flag("nested"));
    let _ = (parameters.duration("max_age"), parameters.moment("at"), parameters.number("after"));
    let _ = parameters.duration("wait");
    let _ = Page::read(&parameters, "users");
}
