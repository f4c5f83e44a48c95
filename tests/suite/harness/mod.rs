//! What the tests stand on: private servers, the daemon, a webhook receiver,
//! and waiting for conditions.

pub mod clients;
pub mod copy;
pub mod daemon;
pub mod emulate;
pub mod fault_proxy;
pub mod fold;
pub mod http;
pub mod ldap_stub;
pub mod ldif;
pub mod parts;
pub mod process;
pub mod receiver;
pub mod recorder;
pub mod roster;
pub mod samba;
pub mod schema;
pub mod secrets;
pub mod slapd;
pub mod story;
pub mod tls;
pub mod tls_front;
pub mod vendor;

use std::fmt::Display;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Waits until `attempt` gives a value; panics with its last complaint when
/// that takes longer than `patience`.
pub fn wait_until<T, E: Display>(
    what: &str,
    patience: Duration,
    mut attempt: impl FnMut() -> Result<T, E>,
) -> T {
    let deadline = rosterd::clock::instant() + patience;
    loop {
        match attempt() {
            Ok(value) => return value,
            Err(complaint) if rosterd::clock::instant() > deadline => {
                panic!("waited {patience:?} for {what}: {complaint}")
            }
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// A loopback port that nobody listens on at this moment.
pub fn free_port() -> u16 {
    let probe = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free loopback port");
    probe.local_addr().expect("a bound socket has an address").port()
}

/// Where the suite leaves what outlives a test: logs, the list of secrets.
/// `tests/run` reads it.
pub fn artifacts() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
}

/// A directory of its own, removed when the value is dropped. Short, because
/// the path of a unix socket has room for some 100 bytes only.
pub fn scratch(name: &str) -> tempfile::TempDir {
    tempfile::Builder::new().prefix(&format!("rosterd-{name}-")).tempdir().expect("a directory")
}

/// Writes `text` to `path` and hands the path back.
pub fn write(path: impl AsRef<Path>, text: impl AsRef<[u8]>) -> PathBuf {
    let path = path.as_ref();
    std::fs::write(path, text).unwrap_or_else(|e| panic!("cannot write {}: {e}", path.display()));
    path.to_owned()
}

/// The same, for its owner's eyes only.
pub fn write_private(path: impl AsRef<Path>, text: impl AsRef<[u8]>) -> PathBuf {
    let path = write(path, text);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("one's own");
    path
}
