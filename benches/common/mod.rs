//! A generated directory of any size, the same at every run, and what the
//! benches measure with.

use std::time::Duration;

use rosterd::model::{Change, Commit, Group, Layer, Progress, Put, Reference, User};
use rosterd::provider::{GroupItem, Item, UserItem};
use rosterd::store::record;

/// How large the generated directory is.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub users: u32,
    pub groups: u32,
    /// Direct memberships of users, in all groups together.
    pub memberships: u32,
}

impl Size {
    /// From `USERS GROUPS MEMBERSHIPS` on the command line, or the default.
    pub fn from_arguments(default: Size) -> Size {
        let given: Vec<u32> =
            std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
        match given.as_slice() {
            [users, groups, memberships] => {
                Size { users: *users, groups: *groups, memberships: *memberships }
            }
            _ => default,
        }
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Size { users, groups, memberships } = self;
        write!(f, "{users} users, {groups} groups, {memberships} memberships")
    }
}

/// User number `n`, as a provider would hand it over.
pub fn user(n: u32) -> UserItem {
    UserItem {
        user: User {
            id: user_id(n),
            username: format!("user{n:07}"),
            emails: vec![format!("user{n:07}@corp.example.org")],
            display_name: Some(format!("User Number {n}")),
            given_name: Some("User".into()),
            family_name: Some(format!("Number {n}")),
            active: !n.is_multiple_of(50),
            department: Some(format!("Department {}", n % 200)),
            ..User::default()
        },
        aliases: vec![user_dn(n)],
        groups: Vec::new(),
    }
}

/// Group number `n`, as a provider would hand it over.
pub fn group(n: u32) -> GroupItem {
    GroupItem {
        group: Group {
            id: group_id(n),
            name: format!("group-{n:06}"),
            description: Some(format!("The group with the number {n}")),
            ..Group::default()
        },
        aliases: vec![format!("cn=group-{n:06},ou=groups,dc=corp,dc=example,dc=org")],
    }
}

/// The immutable id of user `n`, shaped like a GUID.
pub fn user_id(n: u32) -> String {
    format!("{:08x}-0000-4000-8000-{:012x}", spread(n), n)
}

/// The immutable id of group `n`.
pub fn group_id(n: u32) -> String {
    format!("{:08x}-0000-4000-9000-{:012x}", spread(n), n)
}

/// The alias of user `n`.
pub fn user_dn(n: u32) -> String {
    format!("uid=user{n:07},ou=people,dc=corp,dc=example,dc=org")
}

/// The users directly in group `n`, sorted. Sizes are skewed: a tenth of the
/// groups has half of the memberships.
pub fn members(size: Size, n: u32) -> Vec<u32> {
    let small = (u64::from(size.memberships) / 2 / (u64::from(size.groups) * 9 / 10).max(1)).max(1);
    let large = (u64::from(size.memberships) / 2 / (u64::from(size.groups) / 10).max(1)).max(1);
    let count = if n.is_multiple_of(10) { large } else { small }.min(u64::from(size.users));
    let step = (u64::from(size.users) / count).max(1);
    let start = u64::from(spread(n)) % step;
    (0..count).map(|i| (start + i * step) as u32).filter(|user| *user < size.users).collect()
}

/// The group that group `n` is in, when it is nested: chains of eight.
pub fn parent(n: u32) -> Option<u32> {
    (!n.is_multiple_of(8)).then(|| n - 1)
}

/// The items of a full crawl, page by page, generated as they are asked for.
pub fn pages(size: Size, page: u32) -> impl Iterator<Item = Vec<Item>> {
    let users = (0..size.users).step_by(page as usize).map(move |from| {
        (from..(from + page).min(size.users)).map(|n| Item::User(user(n))).collect()
    });
    let groups = (0..size.groups).step_by(page as usize).map(move |from| {
        (from..(from + page).min(size.groups)).flat_map(|n| group_items(size, n)).collect()
    });
    users.chain(groups)
}

/// A group and its complete members: users by alias, groups by id.
pub fn group_items(size: Size, n: u32) -> [Item; 2] {
    let users = members(size, n).into_iter().map(|user| Reference::Alias(user_dn(user)));
    let child = Some(n + 1).filter(|child| *child < size.groups && parent(*child) == Some(n));
    let groups = child.map(|child| Reference::Group(group_id(child)));
    let members = users.chain(groups).collect();
    [Item::Group(group(n)), Item::Members { group: Reference::Group(group_id(n)), members }]
}

/// The first commit of the whole directory.
pub fn first_commit(size: Size) -> Commit {
    let users = (0..size.users).map(|slot| Change::User {
        slot,
        record: record::encode_user(&user(slot)),
        put: Put::Created,
    });
    let groups = (0..size.groups).map(|slot| Change::Group {
        slot,
        record: record::encode_group(&group(slot)),
        put: Put::Created,
    });
    let edges = (0..size.groups).flat_map(|slot| {
        let child = Some(slot + 1).filter(|c| *c < size.groups && parent(*c) == Some(slot));
        let added = |layer, members| Change::Edges {
            group: slot,
            layer,
            added: true,
            visible: true,
            members,
        };
        let users = Some(added(Layer::Listed, members(size, slot)));
        users.into_iter().chain(child.map(|child| added(Layer::Subgroup, vec![child])))
    });
    Commit {
        directory: "corp".into(),
        tenant: "default".into(),
        product: "default".into(),
        occurred_at: rosterd::clock::now(),
        changes: users.chain(groups).chain(edges).collect(),
        cause: rosterd::model::Cause::First,
        progress: Progress { as_of: Some(rosterd::clock::now()), ..Progress::default() },
    }
}

/// CPU time of this process so far.
pub fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
    Duration::from_millis((ticks(11) + ticks(12)) * 10)
}

/// `VmRSS` or `VmHWM` of this process, in megabytes.
pub fn memory(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<u64>().ok()).unwrap_or(0) / 1024
}

/// Starts a new high-water mark of memory.
pub fn reset_peak() {
    // Refused in some containers; the peak then covers the whole run.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

fn spread(n: u32) -> u32 {
    n.wrapping_mul(0x9E37_79B1).rotate_left(13)
}
