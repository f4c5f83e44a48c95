//! Where configuration comes from: files and the environment, read here and
//! nowhere else.

use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::secret::Secret;

/// No configuration, key or certificate file is larger.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Where systemd puts the credentials of a service.
const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

/// What surrounds a configuration file: the folder that relative paths start
/// from, and the environment.
pub struct Surroundings<'a> {
    folder: PathBuf,
    variable: &'a dyn Fn(&str) -> Option<OsString>,
}

impl<'a> Surroundings<'a> {
    /// `folder` is where relative paths start from; `variable` looks up a
    /// variable of the environment.
    pub fn new(folder: PathBuf, variable: &'a dyn Fn(&str) -> Option<OsString>) -> Self {
        Surroundings { folder, variable }
    }

    /// Those of a configuration file in this process.
    pub fn of_file(path: &Path) -> Surroundings<'static> {
        let folder = path.parent().map(Path::to_owned).unwrap_or_default();
        Surroundings { folder, variable: &|name| variable(name) }
    }

    /// Relative paths start from the folder of the configuration file.
    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.folder.join(path)
    }

    /// A secret kept in a file. Newlines at the end do not belong to it.
    pub(super) fn secret_file(&self, path: &str) -> Result<Secret, Problem> {
        let path = self.path(path);
        let bytes = read_file(&path).map_err(|reason| Problem {
            message: format!("cannot read the secret file {}: {reason}", path.display()),
            hint: Some("the user that runs rosterd must be allowed to read it".to_owned()),
        })?;
        secret(bytes, &format!("the secret file {}", path.display()))
    }

    /// A secret that systemd hands over (`LoadCredential=`).
    pub(super) fn credential(&self, name: &str) -> Result<Secret, Problem> {
        let hint = || Some(format!("add `LoadCredential={name}:/path/to/the/secret` to the unit"));
        if name.is_empty() || name.contains('/') || name.starts_with('.') {
            return Err(Problem {
                message: format!("`{}` is not the name of a credential", name.escape_debug()),
                hint: Some("it is the part before the colon in `LoadCredential=`".to_owned()),
            });
        }
        let Some(folder) = (self.variable)(CREDENTIALS_DIRECTORY) else {
            return Err(Problem {
                message: format!(
                    "cannot read the credential `{name}`: rosterd was not started by systemd with credentials"
                ),
                hint: hint(),
            });
        };
        let path = Path::new(&folder).join(name);
        let bytes = read_file(&path).map_err(|reason| Problem {
            message: format!("cannot read the credential `{name}` ({}): {reason}", path.display()),
            hint: hint(),
        })?;
        secret(bytes, &format!("the credential `{name}`"))
    }

    /// A secret in a variable of the environment.
    pub(super) fn secret_variable(&self, name: &str) -> Result<Secret, Problem> {
        let Some(value) = (self.variable)(name) else {
            return Err(Problem {
                message: format!("the environment variable `{}` is not set", name.escape_debug()),
                hint: None,
            });
        };
        let value = value.into_string().map_err(|_| Problem {
            message: format!("the environment variable `{name}` is not UTF-8"),
            hint: None,
        })?;
        secret(value.into_bytes(), &format!("the environment variable `{name}`"))
    }
}

/// Why something named in the configuration cannot be had.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

/// A file that the configuration names, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    pub path: PathBuf,
    pub content: Vec<u8>,
}

/// A variable of this process's environment.
pub fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

/// A secret that others replace while the daemon runs (a workload's token, say).
///
/// # Errors
/// The reason, as a fragment with the path.
pub fn read_secret_file(path: &Path) -> Result<Secret, String> {
    let what = path.display();
    let bytes = read_file(path).map_err(|reason| format!("cannot read {what}: {reason}"))?;
    secret(bytes, &what.to_string()).map_err(|problem| problem.message)
}

/// Reads a file of sane size.
///
/// # Errors
/// The reason, as a fragment without the path.
pub(super) fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    let file = std::fs::File::open(path).map_err(|e| reason(&e))?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|e| reason(&e))?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > FILE_BYTES_MAX) {
        return Err(format!("it is larger than {} MiB", FILE_BYTES_MAX >> 20));
    }
    Ok(bytes)
}

/// The words of the operating system, without its number.
pub(super) fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "no such file".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        std::io::ErrorKind::IsADirectory => "it is a folder".to_owned(),
        _ => error.to_string(),
    }
}

fn secret(bytes: Vec<u8>, what: &str) -> Result<Secret, Problem> {
    let text = match String::from_utf8(bytes) {
        Ok(text) => Secret::new(text),
        Err(_) => return Err(Problem { message: format!("{what} is not UTF-8"), hint: None }),
    };
    let trimmed = text.expose().trim_end_matches(['\r', '\n']);
    if trimmed.is_empty() {
        return Err(Problem { message: format!("{what} is empty"), hint: None });
    }
    Ok(Secret::new(trimmed.to_owned()))
}
