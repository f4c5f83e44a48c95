//! The real process on real directories, from the change at the provider to
//! what receivers are told.

mod access;
mod active_directory;
mod audit;
mod command;
mod crash;
mod envoy;
mod example;
mod feed;
mod frozen;
mod guard;
mod guard_apart;
mod opa;
mod openldap;
mod readme;
mod receivers;
mod service;
mod signatures;
mod webhook_desk;
mod webhooks;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::SystemTime;

use serde_json::{Value, json};

use crate::harness::daemon::Daemon;
use crate::harness::fold::Fold;
use crate::harness::samba::SambaAd;
use crate::harness::slapd::Slapd;
use crate::harness::write;

/// A directory block for an OpenLDAP. Polls only when asked: the delay is long.
fn openldap(name: &str, slapd: &Slapd) -> String {
    let (dn, password) = slapd.poller();
    let file = slapd.password_file((dn.clone(), password));
    format!(
        "[directory.{name}]\npoll = {{ min_delay = \"1h\", max_delay = \"1h\" }}\n\
         provider.ldap = {{ url = \"{}\", base = \"{}\", bind_dn = \"{dn}\", \
         bind_password = {{ file = \"{}\" }}, ca = \"{}\", schema = \"rfc2307bis\" }}\n",
        slapd.ldaps_url(),
        slapd.base(),
        file.display(),
        slapd.ca().display()
    )
}

/// The same for an Active Directory.
fn active_directory(name: &str, samba: &SambaAd) -> String {
    format!(
        "[directory.{name}]\npoll = {{ min_delay = \"1h\", max_delay = \"1h\" }}\n\
         provider.ldap = {{ url = \"{}\", base = \"{}\", bind_dn = \"{}\", \
         bind_password = {{ file = \"{}\" }}, ca = \"{}\", schema = \"ad\" }}\n",
        samba.ldaps_url(),
        samba.base(),
        samba.admin().0,
        samba.secret().display(),
        samba.ca().display()
    )
}

/// A directory of one file: ada is in crew, crew is in all.
fn bundle(daemon: &Daemon, name: &str) -> String {
    let content = json!({
        "users": [
            {"id": "a", "username": "ada", "email": "ada@example.org"},
            {"id": "b", "username": "bob", "active": false},
        ],
        "groups": [{"id": "c", "name": "crew"}, {"id": "d", "name": "all"}],
        "memberships": [{"group": "c", "user": "a"}, {"group": "d", "member_group": "c"}],
    });
    let path = write(daemon.dir().join(format!("{name}.json")), content.to_string());
    format!(
        "[directory.{name}]\npoll = {{ min_delay = \"1h\", max_delay = \"1h\" }}\n\
         provider.bundle = {{ path = \"{}\" }}\n",
        path.display()
    )
}

/// The journal folds, and gives exactly what the daemon holds.
pub fn assert_journal_is_the_picture(daemon: &Daemon) {
    let told = Fold::of(&daemon.events(0)).unwrap_or_else(|complaint| panic!("{complaint}"));
    let snapshot = daemon.request("GET", "/v1/snapshot", None).text();
    let held = Fold::of_snapshot(&snapshot).unwrap_or_else(|complaint| panic!("{complaint}"));
    assert_eq!(told.trimmed(), held);
}

/// Objects by id.
fn objects(daemon: &Daemon, path: &str, field: &str) -> BTreeMap<String, Value> {
    let id = |object: &Value| object["id"].as_str().expect("an object has an id").to_owned();
    page_through(daemon, path, field).into_iter().map(|object| (id(&object), object)).collect()
}

/// Every page of a list.
fn page_through(daemon: &Daemon, path: &str, field: &str) -> Vec<Value> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    let joint = if path.contains('?') { '&' } else { '?' };
    loop {
        let page = daemon.get(&format!("{path}{joint}limit=1000{cursor}"));
        all.extend(page[field].as_array().expect("a list").iter().cloned());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => {
                assert_eq!(page["total"].as_u64(), Some(all.len() as u64), "{path}");
                return all;
            }
        }
    }
}

/// Every file below `dir` with its length, the time it was written, and its bytes.
fn footprint(dir: &Path) -> BTreeMap<String, (u64, SystemTime, Vec<u8>)> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(dir).expect("readable") {
        let path = entry.expect("readable").path();
        let meta = std::fs::metadata(&path).expect("it is there");
        if meta.is_dir() {
            files.extend(footprint(&path));
        } else {
            let bytes = std::fs::read(&path).expect("readable");
            let written = meta.modified().expect("the file system knows");
            files.insert(path.display().to_string(), (meta.len(), written, bytes));
        }
    }
    files
}

/// How many LDAP operations the last crawl took.
fn operations(status: &Value) -> u64 {
    let requests = status["last_crawl"]["requests"].as_object().expect("requests by name");
    requests.values().filter_map(Value::as_u64).sum()
}
