//! The other end of a connection, as the kernel knows it.

use std::io;
use std::net::SocketAddr;

use tokio::net::UnixStream;

/// What the kernel shows in place of a user or group that is not mapped into
/// our user namespace (user_namespaces(7), overflowuid).
pub const OVERFLOW_ID: u32 = 65_534;

/// The other end of a connection.
#[derive(Clone, Copy, Debug)]
pub enum Peer {
    Unix { uid: u32, gid: u32, pid: Option<u32> },
    Tcp(SocketAddr),
}

impl Peer {
    /// Who opened this connection (`SO_PEERCRED`, unix(7)).
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn of(stream: &UnixStream) -> io::Result<Peer> {
        let peer = stream.peer_cred()?;
        let pid = peer.pid().and_then(|pid| u32::try_from(pid).ok());
        Ok(Peer::Unix { uid: peer.uid(), gid: peer.gid(), pid })
    }

    /// Which way it came.
    pub fn via(self) -> &'static str {
        match self {
            Peer::Unix { .. } => "socket",
            Peer::Tcp(_) => "tcp",
        }
    }
}

/// The supplementary groups of a process that runs as `uid`.
///
/// The kernel would tell those of the connection itself (`SO_PEERGROUPS`), but
/// nothing that calls it without `unsafe` exists. So they are those of the
/// process with the number that `SO_PEERCRED` told, read when the connection is
/// accepted. Should that process have ended meanwhile and its number have gone to
/// another, then to one of the same user, or its groups do not count: whoever
/// brings that about gains the groups of a process that is theirs already.
///
/// # Errors
/// When the process is gone, hidden (`ProtectProc=`, `hidepid=`), or another's.
pub fn groups_of(pid: u32, uid: u32) -> io::Result<Vec<u32>> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    groups_in(&status, uid).ok_or_else(|| io::Error::other("it belongs to another user by now"))
}

/// proc_pid_status(5): `Uid:` has real, effective, saved and filesystem id.
fn groups_in(status: &str, uid: u32) -> Option<Vec<u32>> {
    let numbers = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().map(|number| number.parse().ok()).collect::<Option<Vec<u32>>>()
    };
    let effective = numbers("Uid:")?.get(1).copied()?;
    (effective == uid).then(|| numbers("Groups:"))?
}

/// Whether all users and groups of the machine are told apart here. In a user
/// namespace (`PrivateUsers=`) most are shown as one.
pub fn knows_everybody() -> bool {
    // Unreadable: no user namespaces, so everybody is known.
    let map = |file: &str| std::fs::read_to_string(file).ok();
    ["/proc/self/uid_map", "/proc/self/gid_map"]
        .into_iter()
        .all(|file| map(file).is_none_or(|map| is_whole(&map)))
}

/// user_namespaces(7): first id inside, first id outside, how many.
fn is_whole(map: &str) -> bool {
    let counts = map.lines().filter_map(|line| line.split_whitespace().nth(2)?.parse::<u64>().ok());
    counts.sum::<u64>() >= u64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\tGroups: 7\nTgid:\t7\nUid:\t33\t34\t33\t33\n\
                          Gid:\t33\t33\t33\t33\nFDSize:\t64\nGroups:\t4 24 1000 \nNStgid:\t7\n";

    #[test]
    fn groups_are_those_of_a_process_with_that_effective_user_only() {
        assert_eq!(groups_in(STATUS, 34), Some(vec![4, 24, 1000]));
        assert_eq!(groups_in(STATUS, 33), None);
        assert_eq!(groups_in("", 33), None);
        assert_eq!(groups_in("Uid:\t1\t1\t1\t1\nGroups:\t\n", 1), Some(vec![]));
        assert_eq!(groups_in("Uid:\t1\t1\t1\t1\nGroups:\tx\n", 1), None);
        assert_eq!(groups_in("Uid:\t1\t1\t1\t1\n", 1), None);
    }

    #[test]
    fn the_groups_of_this_process_are_found() {
        let uid = rustix::process::geteuid().as_raw();
        let own: Vec<u32> =
            rustix::process::getgroups().unwrap().iter().map(|group| group.as_raw()).collect();
        assert_eq!(groups_of(std::process::id(), uid).unwrap(), own);
        assert!(groups_of(std::process::id(), uid + 1).is_err());
    }

    #[test]
    fn a_map_of_a_few_users_is_not_whole() {
        assert!(is_whole("         0          0 4294967295\n"));
        assert!(!is_whole("         0          0          1\n       998        998          1\n"));
        assert!(!is_whole(""));
    }
}
