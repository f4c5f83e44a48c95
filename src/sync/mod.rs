//! Polls directories, compares while reading, guards, and commits.

pub mod status;
