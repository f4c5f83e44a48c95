//! The `[query]` table.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::server::Limits;
use crate::config::Section;
use crate::secret::Secret;

/// Where the socket is when the configuration does not say.
pub const DEFAULT_SOCKET: &str = "/run/rosterd/query.sock";

/// A unix socket's path ends with a zero byte in `sun_path[108]` (unix(7)).
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Where queries are answered and who may ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryConfig {
    /// The unix socket.
    pub socket: PathBuf,
    /// Its file mode.
    pub mode: u32,
    /// The id of the group it is given to; that of the process when `None`.
    pub group: Option<u32>,
    /// A loopback address to listen on too, and the token to be shown there.
    pub listen: Option<(SocketAddr, Secret)>,
    /// `connections_max`: above it the connection that waited longest is closed.
    pub connections_max: usize,
}

impl QueryConfig {
    /// Reads `socket`, `mode`, `group`, `listen`, `token` and `connections_max`.
    pub fn read(section: &mut Section<'_>) -> Option<QueryConfig> {
        let socket = read_socket(section);
        let mode = section.text("mode");
        let mode = mode.map_or(Some(0o660), |text| read_mode(section, &text));
        let group = section.text("group");
        let group = group.map_or(Some(None), |name| read_group(section, &name).map(Some));
        let listen = read_listen(section);
        let connections_max = section.integer("connections_max", 16..=1_000_000);
        Some(QueryConfig {
            socket: socket?,
            mode: mode?,
            group: group?,
            listen: listen?,
            connections_max: connections_max
                .and_then(|max| usize::try_from(max).ok())
                .unwrap_or(Limits::default().connections_max),
        })
    }

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
            connections_max: Limits::default().connections_max,
        }
    }
}

fn read_socket(section: &mut Section<'_>) -> Option<PathBuf> {
    if !section.has("socket") {
        return Some(DEFAULT_SOCKET.into());
    }
    let socket = section.path("socket")?;
    if socket.as_os_str().len() > SOCKET_PATH_BYTES_MAX {
        let message = format!("the path of `socket` is longer than {SOCKET_PATH_BYTES_MAX} bytes");
        section.error("socket", message, Some("unix sockets have short names".to_owned()));
        return None;
    }
    Some(socket)
}

fn read_mode(section: &mut Section<'_>, text: &str) -> Option<u32> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777);
    if mode.is_none() {
        let message = format!("`{}` is not a file mode", text.escape_debug());
        section.error("mode", message, Some("write it in octal, like \"0660\"".to_owned()));
    }
    mode
}

fn read_group(section: &mut Section<'_>, name: &str) -> Option<u32> {
    let id =
        name.parse().ok().or_else(|| group_id(&std::fs::read_to_string("/etc/group").ok()?, name));
    if id.is_none() {
        let message = format!("there is no group `{}`", name.escape_debug());
        let hint = "name a group of /etc/group, or give the number of another";
        section.error("group", message, Some(hint.to_owned()));
    }
    id
}

/// Looks a group up in the format of group(5).
fn group_id(file: &str, name: &str) -> Option<u32> {
    let mut lines = file.lines().map(|line| line.split(':'));
    lines.find_map(|mut fields| {
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok()).flatten()
    })
}

/// `None` is a mistake, `Some(None)` that nothing is configured.
fn read_listen(section: &mut Section<'_>) -> Option<Option<(SocketAddr, Secret)>> {
    let configured = section.has("listen");
    let address = section.socket_address("listen");
    let token = section.secret("token");
    let token_given = section.has("token");
    if !configured {
        if token_given {
            let hint = "set `listen`, or remove `token`: the unix socket needs none";
            section.error("token", "`token` does nothing without `listen`", Some(hint.to_owned()));
            return None;
        }
        return Some(None);
    }
    if !token_given {
        let hint = "every local user can reach a TCP port: give token = { file = \"…\" }";
        section.error("listen", "`listen` needs a `token`", Some(hint.to_owned()));
    }
    let address = address?;
    if !address.ip().is_loopback() {
        let message = format!("`{address}` is not a loopback address");
        let hint = "use 127.0.0.1 or [::1]; put a proxy that speaks TLS in front for others";
        section.error("listen", message, Some(hint.to_owned()));
        return None;
    }
    Some(Some((address, token?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::section::read_text;

    fn read(text: &str) -> Result<QueryConfig, String> {
        read_text(text, QueryConfig::read).map_err(|report| report.to_string())
    }

    #[test]
    fn nothing_is_required() {
        let config = read("").unwrap();
        assert_eq!(config.socket, PathBuf::from("/run/rosterd/query.sock"));
        assert_eq!((config.mode, config.group), (0o660, None));
        assert!(config.listen.is_none());
        assert_eq!(config.connections_max, 4096);
    }

    #[test]
    fn mistakes_are_named() {
        assert!(read("mode = \"rw\"").unwrap_err().contains("not a file mode"));
        assert!(read("group = \"no such group\"").unwrap_err().contains("no group"));
        assert!(read("listen = \"127.0.0.1:0\"").unwrap_err().contains("needs a `token`"));
        assert!(read("listen = \"0.0.0.0:0\"").unwrap_err().contains("loopback"));
        let text = "token = { env = \"PATH\" }";
        assert!(read(text).unwrap_err().contains("without `listen`"));
    }

    #[test]
    fn groups_are_found_by_name() {
        let file = "root:x:0:\nroster:x:990:ada,bob\n";
        assert_eq!(group_id(file, "roster"), Some(990));
        assert_eq!(group_id(file, "ros"), None);
    }
}
