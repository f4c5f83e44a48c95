//! Takes the socket: one handed over by systemd, or one of our own.
//!
//! A socket file is replaced only when nobody answers on it, and nothing but
//! a socket is ever unlinked.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{Gid, Mode, chmod, chown};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with,
};

use super::access::Access;
use super::config::QueryConfig;
use crate::config::Account;

/// Clients that may wait to be accepted.
const BACKLOG: i32 = 4096;

/// Why the socket cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error("somebody answers on {} already\nhint: stop the other daemon, or set `query.socket` to another path", .0.display())]
    InUse(PathBuf),
    #[error("{} is there and is not a socket\nhint: move it away, or set `query.socket` to another path", .0.display())]
    NotASocket(PathBuf),
    #[error(
        "there is no group {0}\nhint: `query.group` takes a name of /etc/group, or the number of another"
    )]
    UnknownGroup(String),
    #[error("cannot listen on {what}: {reason}\nhint: {hint}")]
    Refused { what: String, reason: io::Error, hint: &'static str },
}

/// The sockets that are listened on, ready to accept.
#[derive(Debug)]
pub struct Listeners {
    unix: UnixListener,
    tcp: Option<std::net::TcpListener>,
    /// Removed when dropped; `None` when the socket was handed over.
    file: Option<SocketFile>,
    access: Access,
}

impl Listeners {
    /// Takes over what systemd holds for us, and makes what it does not.
    ///
    /// # Errors
    /// When a socket is in use or cannot be made.
    pub fn take(config: &QueryConfig) -> Result<Listeners, ListenError> {
        let (inherited_unix, inherited_tcp) = inherited();
        let access = Access::new(&config.access);
        let tcp = match config.listen {
            Some(address) => Some(inherited_tcp.map_or_else(|| listen_tcp(address), Ok)?),
            None => None,
        };
        if let Some(unix) = inherited_unix {
            return Ok(Listeners { unix, tcp, file: None, access });
        }
        let group = config.group.as_deref().map(group_id).transpose()?;
        let (unix, file) = listen_unix(&config.socket, config.mode, group)?;
        Ok(Listeners { unix, tcp, file: Some(file), access })
    }

    /// The rules about who may ask, for replacing them.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// Where the unix socket is.
    pub fn path(&self) -> Option<PathBuf> {
        // Our own still tells the name that it was made under.
        let ours = self.file.as_ref().map(|file| file.path.clone());
        ours.or_else(|| self.unix.local_addr().ok()?.as_pathname().map(Path::to_owned))
    }

    /// Hands them to the current runtime.
    pub(super) fn listen(
        &self,
    ) -> io::Result<(tokio::net::UnixListener, Option<tokio::net::TcpListener>)> {
        let unix = self.unix.try_clone()?;
        unix.set_nonblocking(true)?;
        let unix = tokio::net::UnixListener::from_std(unix)?;
        let Some(tcp) = &self.tcp else {
            return Ok((unix, None));
        };
        let tcp = tcp.try_clone()?;
        tcp.set_nonblocking(true)?;
        Ok((unix, Some(tokio::net::TcpListener::from_std(tcp)?)))
    }

    /// The TCP address, when there is one.
    pub fn address(&self) -> Option<SocketAddr> {
        self.tcp.as_ref().and_then(|tcp| tcp.local_addr().ok())
    }
}

/// The first unix and the first TCP socket of systemd's `LISTEN_FDS`.
fn inherited() -> (Option<UnixListener>, Option<std::net::TcpListener>) {
    let mut sockets = listenfd::ListenFd::from_env();
    let (mut unix, mut tcp) = (None, None);
    for index in 0..sockets.len() {
        // An error means another type of socket, which stays where it is.
        if unix.is_none()
            && let Ok(found) = sockets.take_unix_listener(index)
        {
            unix = found;
        } else if tcp.is_none()
            && let Ok(found) = sockets.take_tcp_listener(index)
        {
            tcp = found;
        }
    }
    (unix, tcp)
}

fn listen_tcp(address: SocketAddr) -> Result<std::net::TcpListener, ListenError> {
    std::net::TcpListener::bind(address).map_err(|reason| ListenError::Refused {
        what: address.to_string(),
        reason,
        hint: "is another process listening there? see `query.listen`",
    })
}

/// Makes the socket under a name of its own, sets mode and group, and only
/// then gives it the name that clients know.
fn listen_unix(
    path: &Path,
    mode: u32,
    group: Option<u32>,
) -> Result<(UnixListener, SocketFile), ListenError> {
    let refused = |reason: io::Error| ListenError::Refused {
        what: path.display().to_string(),
        reason,
        hint: "the directory must be writable for this user, and the path at most 103 bytes long",
    };
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent).map_err(refused)?;
    }
    make_way(path)?;
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    make_way(&new)?;
    remove_socket(&new).map_err(refused)?;
    let listener = make(&new, mode, group).map_err(refused)?;
    std::fs::rename(&new, path).map_err(refused)?;
    let file = SocketFile::of(path).map_err(refused)?;
    Ok((listener, file))
}

fn group_id(name: &str) -> Result<u32, ListenError> {
    Account::Group.id(name).ok_or_else(|| ListenError::UnknownGroup(name.to_owned()))
}

fn make(path: &Path, mode: u32, group: Option<u32>) -> io::Result<UnixListener> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    // The file takes on the mode of the socket: nobody gets in before it is set.
    rustix::fs::fchmod(&socket, Mode::empty())?;
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    if let Some(group) = group {
        chown(path, None, Some(Gid::from_raw(group)))?;
    }
    chmod(path, Mode::from_raw_mode(mode))?;
    listen(&socket, BACKLOG)?;
    Ok(UnixListener::from(socket))
}

/// Makes sure that `path` is free, or a socket on which nobody answers.
fn make_way(path: &Path) -> Result<(), ListenError> {
    let Ok(found) = std::fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !found.file_type().is_socket() {
        return Err(ListenError::NotASocket(path.to_owned()));
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(ListenError::InUse(path.to_owned())),
        Err(error) if is_dead(&error) => Ok(()),
        Err(reason) => Err(ListenError::Refused {
            what: path.display().to_string(),
            reason,
            hint: "a socket is there, and whether somebody answers on it cannot be told",
        }),
    }
}

fn is_dead(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound)
}

fn remove_socket(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => std::fs::remove_file(path),
        _ => Ok(()),
    }
}

/// The file of a socket that we made; removed with us, unless another has
/// taken its place.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<SocketFile> {
        Ok(SocketFile { path: path.to_owned(), identity: identity(path)? })
    }
}

/// Device and inode.
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let found = std::fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|now| now == self.identity) {
            // Left behind it does no harm: the next start takes it over.
            let _ = remove_socket(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_a_name_or_a_number() {
        assert_eq!(group_id("4711").unwrap(), 4711);
        assert!(group_id("no such group").unwrap_err().to_string().contains("hint:"));
    }
}
