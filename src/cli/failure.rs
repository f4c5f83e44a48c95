//! Why a word of the command could not do its work.

use std::process::ExitCode;

/// A lower-case fragment for people, with what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    message: String,
    hint: Option<String>,
    is_told: bool,
}

impl Failure {
    pub fn new(message: impl Into<String>) -> Failure {
        Failure { message: message.into(), hint: None, is_told: false }
    }

    /// Adds what a person can do about it.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Failure {
        Failure { hint: Some(hint.into()), ..self }
    }

    /// The reader of the output went away: nothing is left to say.
    fn silent() -> Failure {
        Failure { message: "the output was closed".to_owned(), hint: None, is_told: true }
    }

    /// Writes it to standard error; the exit code for it.
    pub(super) fn tell(&self) -> ExitCode {
        if !self.is_told {
            eprintln!("error: {self}");
        }
        ExitCode::from(2)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Failure {}

/// Writing the output failed.
impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Failure::silent(),
            _ => Failure::new(format!("cannot write the output: {error}")),
        }
    }
}
