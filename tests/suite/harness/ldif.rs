//! Makes the directory that an LDAP server starts with.

use std::fmt::Write;

/// The shape of the generated tree: `uid=u000000,ou=people,BASE` and on, and
/// `cn=g00000,ou=groups,BASE` and on.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub users: usize,
    pub groups: usize,
    /// Each user is a direct member of this many groups.
    pub groups_per_user: usize,
    /// `cn=everyone` holds this many users; not made when 0.
    pub everyone: usize,
    /// Every tenth group also holds the one before it.
    pub nested: bool,
}

/// The tree as LDIF, with the `memberOf` that an offline load would leave out.
pub fn tree(base: &str, shape: Shape) -> String {
    let mut out = String::new();
    let dc = base.split(['=', ',']).nth(1).unwrap_or("example");
    entry(&mut out, &[("dn", base), ("objectClass", "dcObject"), ("objectClass", "organization")]);
    entry_end(&mut out, &[("o", "Example"), ("dc", dc)]);
    for ou in ["people", "groups"] {
        entry(&mut out, &[("dn", &format!("ou={ou},{base}"))]);
        entry_end(&mut out, &[("objectClass", "organizationalUnit"), ("ou", ou)]);
    }
    let members = memberships(shape);
    for user in 0..shape.users {
        write_user(&mut out, base, user, shape);
    }
    for (group, users) in members.iter().enumerate() {
        write_group(&mut out, base, group, users, shape);
    }
    if shape.everyone > 0 {
        entry(&mut out, &[("dn", &format!("cn=everyone,ou=groups,{base}"))]);
        entry(&mut out, &[("objectClass", "groupOfNames"), ("cn", "everyone")]);
        for user in 0..shape.everyone {
            entry(&mut out, &[("member", &user_dn(base, user))]);
        }
        out.push('\n');
    }
    out
}

pub fn user_dn(base: &str, user: usize) -> String {
    format!("uid=u{user:06},ou=people,{base}")
}

pub fn group_dn(base: &str, group: usize) -> String {
    format!("cn=g{group:05},ou=groups,{base}")
}

fn memberships(shape: Shape) -> Vec<Vec<usize>> {
    let mut members = vec![Vec::new(); shape.groups];
    for user in 0..shape.users {
        groups_of(user, shape).for_each(|group| members[group].push(user));
    }
    members
}

/// Steps of a prime spread the memberships without a random source.
pub fn groups_of(user: usize, shape: Shape) -> impl Iterator<Item = usize> {
    (0..shape.groups_per_user.min(shape.groups)).map(move |nth| (user + nth * 7919) % shape.groups)
}

fn write_user(out: &mut String, base: &str, user: usize, shape: Shape) {
    let uid = format!("u{user:06}");
    entry(out, &[("dn", &user_dn(base, user)), ("objectClass", "inetOrgPerson")]);
    entry(out, &[("objectClass", "posixAccount"), ("uid", &uid), ("cn", &format!("User {user}"))]);
    entry(out, &[("sn", &format!("Sn{user}")), ("givenName", &format!("Given{user}"))]);
    entry(out, &[("mail", &format!("{uid}@example.org"))]);
    entry(out, &[("employeeNumber", &user.to_string())]);
    entry(out, &[("uidNumber", &(100_000 + user).to_string()), ("gidNumber", "100000")]);
    entry(out, &[("homeDirectory", &format!("/home/{uid}"))]);
    for group in groups_of(user, shape) {
        entry(out, &[("memberOf", &group_dn(base, group))]);
    }
    if user < shape.everyone {
        entry(out, &[("memberOf", &format!("cn=everyone,ou=groups,{base}"))]);
    }
    out.push('\n');
}

fn write_group(out: &mut String, base: &str, group: usize, users: &[usize], shape: Shape) {
    entry(out, &[("dn", &group_dn(base, group)), ("objectClass", "groupOfNames")]);
    entry(out, &[("cn", &format!("g{group:05}")), ("description", &format!("group {group}"))]);
    for &user in users {
        entry(out, &[("member", &user_dn(base, user))]);
    }
    let holds_previous = shape.nested && group >= 10 && group.is_multiple_of(10);
    if holds_previous {
        entry(out, &[("member", &group_dn(base, group - 1))]);
    }
    if users.is_empty() && !holds_previous {
        // groupOfNames must have one member; this one does not exist.
        entry(out, &[("member", &format!("cn=nobody,{base}"))]);
    }
    if shape.nested && group % 10 == 9 && group + 1 < shape.groups {
        entry(out, &[("memberOf", &group_dn(base, group + 1))]);
    }
    out.push('\n');
}

fn entry(out: &mut String, attributes: &[(&str, &str)]) {
    for (name, value) in attributes {
        writeln!(out, "{name}: {value}").expect("a string takes all");
    }
}

fn entry_end(out: &mut String, attributes: &[(&str, &str)]) {
    entry(out, attributes);
    out.push('\n');
}

/// The values of `attribute` in what a search printed, base64 undone.
pub fn values(text: &str, attribute: &str) -> Vec<Vec<u8>> {
    use base64::Engine;
    let base64 = base64::engine::general_purpose::STANDARD;
    text.lines()
        .filter_map(|line| line.strip_prefix(attribute)?.strip_prefix(':'))
        .map(|value| match value.strip_prefix(": ") {
            Some(encoded) => base64.decode(encoded).expect("the tool writes base64"),
            None => value.trim_start().as_bytes().to_owned(),
        })
        .collect()
}
