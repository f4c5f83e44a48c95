//! Feeds what reads files.

use super::parts;
use super::reading;
use super::source::{Found, Loaded, Role};

/// A bundle in one file (JSON or zip), or three lists cut from the bytes.
pub fn feed(bytes: &[u8]) {
    read(vec![file(Role::Whole, "bundle.json", bytes)]);
    let lists: Vec<&[u8]> = bytes.splitn(3, |byte| *byte == 0).collect();
    let [users, groups, memberships] = lists.as_slice() else { return };
    for ending in ["csv", "json"] {
        read(vec![
            file(Role::Users, &format!("users.{ending}"), users),
            file(Role::Groups, &format!("groups.{ending}"), groups),
            file(Role::Memberships, &format!("memberships.{ending}"), memberships),
        ]);
    }
}

fn file(role: Role, name: &str, bytes: &[u8]) -> Loaded {
    let is_csv = name.ends_with(".csv");
    Loaded { found: Found { role, path: name.into(), is_csv }, bytes: bytes.to_vec() }
}

fn read(files: Vec<Loaded>) {
    const BYTES_MAX: u64 = 1 << 20;
    if let Ok(parts) = parts::take_apart(files, BYTES_MAX) {
        let _ = reading::read(&parts, true, &mut |_| true);
    }
}
