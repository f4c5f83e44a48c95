//! Damaged files are never believed: they are set aside, and a new store goes on.
