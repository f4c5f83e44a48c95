//! `[query]`: where questions are answered, and who may ask.

use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::Section;
use crate::secret::Secret;

/// Where the socket is when the configuration does not say.
pub const DEFAULT_SOCKET: &str = "/run/rosterd/query.sock";

/// A unix socket's path ends with a zero byte in `sun_path[108]` (unix(7)).
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Settings of the query socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryConfig {
    pub socket: PathBuf,
    /// The permission bits of the socket file.
    pub mode: u32,
    /// The group that owns the socket file.
    pub group: Option<String>,
    /// A loopback TCP address, for what cannot speak unix sockets.
    pub listen: Option<Listen>,
    /// Connections beyond this many wait.
    pub connections_max: usize,
}

/// A loopback TCP address and the bearer token that it asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    pub address: SocketAddr,
    pub token: Secret,
}

impl QueryConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Option<QueryConfig> {
        let socket = read_socket(section);
        let mode = read_mode(section);
        let group = section.text("group");
        let connections_max = section.integer("connections_max", 1..=1_000_000);
        let listen = read_listen(section);
        Some(QueryConfig {
            socket: socket?,
            mode: mode?,
            group,
            listen: listen?,
            connections_max: connections_max.map_or(1024, |n| usize::try_from(n).unwrap_or(1024)),
        })
    }
}

impl Default for QueryConfig {
    fn default() -> QueryConfig {
        QueryConfig {
            socket: DEFAULT_SOCKET.into(),
            mode: 0o660,
            group: None,
            listen: None,
            connections_max: 1024,
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
fn read_listen(section: &mut Section<'_>) -> Option<Option<Listen>> {
    let token = section.secret("token");
    let has_token = section.has("token");
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
    Some(Some(Listen { address: address?, token: token? }))
}
