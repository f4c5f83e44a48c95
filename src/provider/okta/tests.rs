//! The provider against answers that a test makes up.
