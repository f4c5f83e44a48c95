//! Pomerium: a databroker that is written to, and the bundle. The databroker is
//! a stub that refuses, and fails the test for, whatever a real one would not
//! take.

mod bundle;
mod databroker;
mod property;
mod stub;
mod wire;
mod writer;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};

use self::databroker::{GROUP, USER};
use self::stub::Stub;
use crate::harness::daemon::Daemon;
use crate::harness::fold::{Fold, Roster};
use crate::harness::{self, wait_until};

const PATIENCE: Duration = Duration::from_secs(60);

/// A directory of files.
const CORP: &str = "[directory.corp]\npoll.min_delay = \"1h\"\npoll.max_delay = \"1h\"\n\
     limits = { users_removed_percent_max = 100, groups_removed_percent_max = 100, \
     members_removed_percent_max = 100 }\nprovider.bundle = { path = \"corp.json\" }\n";

/// A writer as client number `client` of the stub.
fn writer(stub: &Stub, client: usize, more: &str) -> String {
    format!(
        "[pomerium.core]\nurl = \"{}\"\nshared_secret = {{ file = \"shared\" }}\n\
         lease_duration = \"3s\"\n{more}\n",
        stub.url(client)
    )
}

/// A daemon with the writer and the files of `corp`, not yet started.
fn prepare(stub: &Stub, client: usize, more: &str, corp: &Value) -> Daemon {
    let daemon = Daemon::prepare(&format!("{CORP}{}", writer(stub, client, more)));
    harness::write_private(daemon.dir().join("shared"), stub.secret());
    replace(&daemon, "corp", corp);
    daemon
}

fn replace(daemon: &Daemon, name: &str, content: &Value) {
    let draft = harness::write(daemon.dir().join("draft"), content.to_string());
    std::fs::rename(draft, daemon.dir().join(format!("{name}.json"))).unwrap();
}

/// Ada in core, which is in eng; bob in eng; eve is deactivated.
fn crew() -> Value {
    json!({
        "users": [
            { "id": "u1", "username": "ada", "email": "ada@acme.example", "display_name": "Ada" },
            { "id": "u2", "username": "bob", "email": "bob@acme.example" },
            { "id": "u3", "username": "eve", "email": "eve@acme.example", "active": false },
        ],
        "groups": [
            { "id": "g1", "name": "eng", "members": ["u2", "g2", "u3"] },
            { "id": "g2", "name": "core", "email": "core@acme.example", "members": ["u1"] },
        ],
    })
}

type Records = BTreeMap<String, Value>;

/// Users and groups as the databroker should have them, by the provider's ids;
/// worked out from the snapshot.
fn expected(daemon: &Daemon) -> (Records, Records) {
    let answer = daemon.request("GET", "/v1/snapshot", None);
    let fold = Fold::of_snapshot(&answer.text()).unwrap();
    let (mut users, mut groups) = (Records::new(), Records::new());
    for (directory, roster) in &fold.directories {
        let parents = parents(roster);
        for (id, user) in roster.users.iter().filter(|(_, user)| user["active"] == true) {
            let mut data = json!({ "id": id, "group_ids": closure(&parents, id) });
            copy(&mut data, user, &["display_name", "email", "username"]);
            users.insert(id.clone(), marked(data, directory));
        }
        for (id, group) in &roster.groups {
            let mut data = json!({ "id": id });
            copy(&mut data, group, &["name", "email"]);
            groups.insert(id.clone(), marked(data, directory));
        }
    }
    (users, groups)
}

fn copy(to: &mut Value, from: &Value, names: &[&str]) {
    for name in names {
        if let Some(text) = from[name].as_str().filter(|text| !text.is_empty()) {
            to[*name] = text.into();
        }
    }
}

fn marked(mut data: Value, directory: &str) -> Value {
    data["directory"] = directory.into();
    data["written_by"] = "rosterd".into();
    data
}

type Parents<'a> = BTreeMap<(&'a str, &'a str), Vec<&'a str>>;

fn parents(roster: &Roster) -> Parents<'_> {
    let mut parents = Parents::new();
    for (group, kind, member) in &roster.memberships {
        parents.entry((*kind, member.as_str())).or_default().push(group);
    }
    parents
}

fn closure(parents: &Parents<'_>, user: &str) -> BTreeSet<String> {
    let mut open = parents.get(&("user", user)).cloned().unwrap_or_default();
    let mut found = BTreeSet::new();
    while let Some(group) = open.pop() {
        if found.insert(group.to_owned()) {
            open.extend(parents.get(&("group", group)).into_iter().flatten());
        }
    }
    found
}

/// Waits until the stub has exactly this.
fn wait_for(stub: &Stub, daemon: &Daemon, (users, groups): &(Records, Records)) {
    wait_until("the databroker to have it", PATIENCE, || {
        let data = stub.data();
        assert_eq!(data.complaints, [""; 0], "{}", daemon.log());
        let found = (data.data(USER), data.data(GROUP));
        if (&found.0, &found.1) == (users, groups) {
            return Ok(());
        }
        let mut text = String::new();
        write!(text, "wanted {users:?} {groups:?}, has {found:?}\n{}", daemon.log()).unwrap();
        Err(text)
    });
}

/// Waits until everything that was committed is written, as the metrics say.
fn wait_level(daemon: &Daemon) {
    wait_until("everything to be written", PATIENCE, || {
        let text = daemon.request("GET", "/metrics", None).text();
        let line = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(name));
            line.map(str::to_owned).unwrap_or_default()
        };
        let backlog = line("rosterd_pomerium_backlog_events{");
        let writing = line("rosterd_pomerium_writing{");
        let is_level = backlog.ends_with(" 0") && writing.ends_with(" 1");
        if is_level { Ok(()) } else { Err(format!("{backlog} {writing}\n{}", daemon.log())) }
    });
}
