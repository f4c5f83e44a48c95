//! Feeds `pages` of `rosterd::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rosterd::fuzzing::feed("pages", bytes));
