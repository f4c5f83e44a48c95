//! Secrets: the configuration says where they are, never what they are.

use std::path::PathBuf;

use toml::Spanned;
use toml::de::DeValue;

use super::Section;
use crate::config::mask;
use crate::secret::Secret;

/// How a secret may be given, by key.
const SOURCES: [&str; 3] = ["file", "credential", "env"];

/// Where the configuration says a secret is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    File(PathBuf),
    /// By the name that systemd knows.
    Credential(String),
    /// A variable of the environment.
    Variable(String),
}

impl Section<'_> {
    /// A secret, read now: `{ file = … }`, `{ credential = … }` (systemd) or
    /// `{ env = … }`. A newline at its end does not belong to it.
    pub fn secret(&mut self, key: &str) -> Option<Secret> {
        self.ask(key, true);
        let value = self.table.get(key)?;
        if !value.get_ref().is_table() {
            self.refuse_inline(key, value);
            return None;
        }
        let mut section = self.section(key)?;
        let secret = section.secret_by_source();
        drop(section);
        if let Some(secret) = &secret {
            self.remember_content(key, secret.expose().as_bytes());
        }
        secret
    }

    /// A secret that must be there.
    pub fn required_secret(&mut self, key: &str) -> Option<Secret> {
        if !self.has(key) {
            self.missing(key, Some(format!("write {key} = {{ file = \"…\" }}")));
        }
        self.secret(key)
    }

    /// Where a secret is kept, for those who renew it; `None` when that is
    /// mistaken, which [`Section::secret`] notes.
    pub fn secret_source(&self, key: &str) -> Option<SecretSource> {
        let table = self.table.get(key)?.get_ref().as_table()?;
        let given = |source: &str| table.get(source)?.get_ref().as_str();
        if let Some(path) = given("file") {
            return Some(SecretSource::File(self.reading.surroundings.path(path)));
        }
        let credential = given("credential").map(|name| SecretSource::Credential(name.to_owned()));
        credential.or_else(|| Some(SecretSource::Variable(given("env")?.to_owned())))
    }

    fn refuse_inline(&mut self, key: &str, value: &Spanned<DeValue<'_>>) {
        self.hide(value);
        let hint = format!(
            "put it into a file and write {key} = {{ file = \"…\" }}; \
             {{ credential = \"…\" }} (systemd) and {{ env = \"…\" }} work too"
        );
        let message = format!("`{key}` must not stand in the configuration itself");
        self.error(key, message, Some(hint));
    }

    /// `self` is the table that says where the secret is.
    fn secret_by_source(&mut self) -> Option<Secret> {
        self.hide_other_values();
        let given: Vec<&str> = SOURCES.into_iter().filter(|source| self.has(source)).collect();
        let [source] = given.as_slice() else {
            let message = match given.as_slice() {
                [] => format!("`{}` does not say where the secret is", self.name()),
                _ => format!("`{}` says more than once where the secret is", self.name()),
            };
            self.error_here(message, Some("give one of `file`, `credential` and `env`".to_owned()));
            return None;
        };
        let place = self.not_empty(source)?;
        let surroundings = self.reading.surroundings;
        let read = match *source {
            "file" => surroundings.secret_file(&place),
            "credential" => surroundings.credential(&place),
            _ => surroundings.secret_variable(&place),
        };
        read.map_err(|problem| self.error(source, problem.message, problem.hint)).ok()
    }

    /// Whoever writes `{ value = "…" }` meant the secret itself.
    fn hide_other_values(&self) {
        for (key, value) in self.table.iter() {
            if !mask::is_source(key.get_ref()) {
                self.hide(value);
            }
        }
    }
}
