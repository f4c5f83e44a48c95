//! `[query]`: where questions are answered, and who may ask.

use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::access::AccessConfig;
use super::server::Limits;
use crate::config::Section;

/// Where the socket is when the configuration does not say.
pub const DEFAULT_SOCKET: &str = "/run/rosterd/query.sock";

/// A unix socket's path ends with a zero byte in `sun_path[108]` (unix(7)),
/// and ours begins its life with `.new` at its end.
const SOCKET_PATH_BYTES_MAX: usize = 103;

/// Each costs a few kilobytes; as many as a kernel lets wait by default.
pub const CONNECTIONS_MAX: usize = 4096;

/// Settings of the query socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryConfig {
    pub socket: PathBuf,
    /// The permission bits of the socket file.
    pub mode: u32,
    /// The group that owns the socket file: a name of /etc/group, or a number.
    pub group: Option<String>,
    /// A loopback TCP address, for what cannot speak unix sockets.
    pub listen: Option<SocketAddr>,
    /// Who may do what.
    pub access: AccessConfig,
    /// Above this the connection that waited longest is closed for a new one.
    pub connections_max: usize,
}

impl QueryConfig {
    /// Reads the table.
    pub fn read(section: &mut Section<'_>) -> Option<QueryConfig> {
        let socket = read_socket(section);
        let mode = read_mode(section);
        let group = section.text("group");
        let connections_max = section.integer("connections_max", 1..=1_000_000);
        let access = AccessConfig::read(section);
        let listen = read_listen(section);
        Some(QueryConfig {
            socket: socket?,
            mode: mode?,
            group,
            listen: listen?,
            access: access?,
            connections_max: connections_max
                .and_then(|max| usize::try_from(max).ok())
                .unwrap_or(CONNECTIONS_MAX),
        })
    }
}

impl QueryConfig {
    /// The limits that go with it.
    pub fn limits(&self) -> Limits {
        Limits { connections_max: self.connections_max, ..Limits::default() }
    }
}

impl Default for QueryConfig {
    fn default() -> QueryConfig {
        QueryConfig {
            socket: DEFAULT_SOCKET.into(),
            mode: 0o660,
            group: None,
            listen: None,
            access: AccessConfig::default(),
            connections_max: CONNECTIONS_MAX,
        }
    }
}

fn read_socket(section: &mut Section<'_>) -> Option<PathBuf> {
    if !section.has("socket") {
        return Some(DEFAULT_SOCKET.into());
    }
    let socket = section.path("socket")?;
    if !fits(&socket) {
        let message = format!("the path of `socket` is longer than {SOCKET_PATH_BYTES_MAX} bytes");
        section.error("socket", message, Some("unix sockets have short names".to_owned()));
        return None;
    }
    Some(socket)
}

fn fits(socket: &Path) -> bool {
    socket.as_os_str().as_bytes().len() <= SOCKET_PATH_BYTES_MAX
}

fn read_mode(section: &mut Section<'_>) -> Option<u32> {
    if !section.has("mode") {
        return Some(0o660);
    }
    let text = section.text("mode")?;
    let mode = u32::from_str_radix(&text, 8).ok().filter(|mode| *mode <= 0o777);
    if mode.is_none() {
        let hint = "write it in octal, like \"0660\"".to_owned();
        section.error("mode", "`mode` is not a file mode", Some(hint));
    }
    mode
}

/// `Some(None)` when there is none; `None` when there is a mistake.
fn read_listen(section: &mut Section<'_>) -> Option<Option<SocketAddr>> {
    let has_token = section.has("token") | section.has("tokens");
    if !section.has("listen") {
        return Some(None);
    }
    if !has_token {
        let hint = "whoever reaches the port may ask; add token = { file = \"…\" }".to_owned();
        section.error("listen", "`listen` needs a `token`", Some(hint));
    }
    let address = section.socket_address("listen");
    if address.is_some_and(|address| !address.ip().is_loopback()) {
        let hint = "put a proxy that checks who asks in front of it".to_owned();
        section.error("listen", "`listen` must be a loopback address", Some(hint));
        return None;
    }
    address.filter(|_| has_token).map(Some)
}
