//! Feeds what reads requests.

use super::check::read_batch;
use super::page::Page;
use super::parameters::Parameters;
use super::{authzen, ext_authz};

const KNOWN: [&str; 10] =
    ["user", "group", "max_age", "at", "nested", "limit", "cursor", "after", "wait", "directory"];

/// A query string, the body of a batch of checks, and what enforcement points send.
pub fn feed(bytes: &[u8]) {
    let _ = read_batch(bytes);
    authzen::feed(bytes);
    ext_authz::feed(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(parameters) = Parameters::parse(Some(text), &KNOWN) else { return };
    let _ = (parameters.required("user"), parameters.text("group"), parameters.flag("nested"));
    let _ = (parameters.duration("max_age"), parameters.moment("at"), parameters.number("after"));
    let _ = parameters.duration("wait");
    let _ = Page::read(&parameters, "users");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            feed(&bytes);
        }

        /// Close to what is expected, and not quite.
        #[test]
        fn what_is_almost_a_request_is_read_without_harm(
            at in 0..400usize, length in 0..40usize, insert in "[\\[\\]{}\",:0-9a-z]{0,6}",
        ) {
            let whole = include_str!("../../fuzz/corpus/query/authzen-many");
            let (start, end) = (at.min(whole.len()), (at + length).min(whole.len()));
            feed(format!("{}{insert}{}", &whole[..start], &whole[end..]).as_bytes());
        }
    }
}
