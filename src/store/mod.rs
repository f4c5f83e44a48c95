//! Records, journal, history and cursors in one atomic, durable write.

pub mod record;
