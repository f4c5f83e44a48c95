//! The requests that all servers are asked, as bytes.

use super::common::{self, Size};

/// How a check names the user and the group.
#[derive(Clone, Copy)]
pub enum Naming {
    Ids,
    /// The username, and the group's name.
    Names,
    /// The user's address, and the group's id.
    Email,
}

/// A check of some user and some group; about half of them are members.
pub fn check(size: Size, n: u32, naming: Naming) -> Vec<u8> {
    let (user, group) = pair(size, n);
    get(&check_path(user, group, naming))
}

/// A check that is true only through seven groups nested in the one asked about,
/// or false after looking through them all.
pub fn nested(size: Size, n: u32) -> Vec<u8> {
    let outer = (n.wrapping_mul(2_654_435_761) % size.groups) & !7;
    let innermost = (outer + 7).min(size.groups - 1);
    let members = common::members(size, innermost);
    let some = n.wrapping_mul(40_503) % size.users;
    let member = members.get(n as usize % members.len().max(1)).copied().unwrap_or(some);
    let user = if n.is_multiple_of(2) { some } else { member };
    get(&check_path(user, outer, Naming::Ids))
}

/// A hundred checks by id in one request.
pub fn batch(size: Size, n: u32) -> Vec<u8> {
    let question = |i: u32| {
        let (user, group) = pair(size, n * 100 + i);
        let (user, group) = (common::user_id(user), common::group_id(group));
        format!("{{\"user\":\"{user}\",\"group\":\"{group}\"}}")
    };
    let questions: Vec<String> = (0..100).map(question).collect();
    post("/v1/check", &format!("{{\"checks\":[{}]}}", questions.join(",")))
}

/// A user, and a group that he is directly in for every odd `n`.
pub fn pair(size: Size, n: u32) -> (u32, u32) {
    let group = n.wrapping_mul(2_654_435_761) % size.groups;
    let members = size.memberships / size.groups.max(1);
    let some = n.wrapping_mul(40_503) % size.users;
    if n.is_multiple_of(2) || members == 0 {
        return (some, group);
    }
    let list = common::members(size, group);
    (list.get(n as usize % list.len().max(1)).copied().unwrap_or(some), group)
}

/// The path and query of a check.
pub fn check_path(user: u32, group: u32, naming: Naming) -> String {
    let (user, group) = match naming {
        Naming::Ids => (common::user_id(user), common::group_id(group)),
        Naming::Names => (format!("user{user:07}"), format!("group-{group:06}")),
        Naming::Email => (format!("user{user:07}@corp.example.org"), common::group_id(group)),
    };
    format!("/v1/check?user={user}&group={group}")
}

pub fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").into_bytes()
}

pub fn post(path: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    );
    (head + body).into_bytes()
}
