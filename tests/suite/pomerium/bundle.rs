//! The bundle, as Pomerium's blob provider and external data sources read it.

use std::io::{Cursor, Read};

use super::*;
use crate::harness::http::{self, Message};

const PATH: &str = "/v1/pomerium/bundle.zip";

/// Two directories, which have ids in common.
fn two() -> Daemon {
    let partner = CORP.replace("corp", "partner");
    let mut daemon = Daemon::prepare(&format!("{CORP}{partner}"));
    replace(&daemon, "corp", &crew());
    let people = json!({
        "users": [{ "id": "p1", "username": "pat", "email": "pat@x.example", "badge": 7 }],
        "groups": [{ "id": "g1", "name": "other", "members": ["p1"] }],
    });
    replace(&daemon, "partner", &people);
    daemon.resume();
    daemon.wait_ready();
    daemon
}

fn one(corp: &Value) -> Daemon {
    let mut daemon = Daemon::prepare(CORP);
    replace(&daemon, "corp", corp);
    daemon.resume();
    daemon.wait_ready();
    daemon
}

fn fetch(daemon: &Daemon, method: &str, path: &str, held: &str) -> Message {
    let headers = [("if-none-match", held)];
    let headers = if held.is_empty() { &headers[..0] } else { &headers };
    http::request_with(&daemon.socket(), method, path, headers, None).unwrap()
}

/// The two entries, groups first.
fn entries(answer: &Message) -> (Value, Value) {
    let mut zip = zip::ZipArchive::new(Cursor::new(&answer.body)).unwrap();
    assert_eq!(zip.len(), 2);
    let mut entry = |name: &str| {
        let mut file = zip.by_name(name).unwrap();
        assert_eq!(file.compression(), zip::CompressionMethod::Deflated);
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        let list: Value = serde_json::from_str(&text).unwrap();
        assert!(list.is_array(), "never null: {text}");
        list
    };
    (entry("pomerium.io/DirectoryGroup.json"), entry("pomerium.io/DirectoryUser.json"))
}

#[test]
fn the_bundle_has_two_lists_without_empty_fields() {
    let daemon = one(&crew());
    let answer = fetch(&daemon, "GET", PATH, "");
    assert_eq!(answer.status(), 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/zip"));
    let (groups, users) = entries(&answer);
    assert_eq!(
        groups,
        json!([
            { "id": "g1", "name": "eng" },
            { "id": "g2", "name": "core", "email": "core@acme.example" },
        ])
    );
    assert_eq!(
        users,
        json!([
            { "id": "u1", "group_ids": ["g1", "g2"], "display_name": "Ada",
              "email": "ada@acme.example" },
            { "id": "u2", "group_ids": ["g1"], "email": "bob@acme.example" },
        ])
    );
}

#[test]
fn an_empty_directory_is_two_empty_lists() {
    let daemon = one(&json!({ "users": [], "groups": [] }));
    assert_eq!(entries(&fetch(&daemon, "GET", PATH, "")), (json!([]), json!([])));
}

#[test]
fn equal_content_has_an_equal_tag_and_is_not_sent_again() {
    let mut daemon = one(&crew());
    let first = fetch(&daemon, "GET", PATH, "");
    let tag = first.header("etag").unwrap().to_owned();
    assert!(tag.starts_with('"') && tag.len() > 10, "a strong one: {tag}");
    let date = first.header("last-modified").unwrap().to_owned();
    assert!(date.ends_with(" GMT"), "{date}");
    let head = fetch(&daemon, "HEAD", PATH, "");
    assert_eq!((head.status(), head.header("etag")), (200, Some(tag.as_str())));
    let length = first.body.len().to_string();
    assert_eq!(head.header("content-length"), Some(length.as_str()));
    let held = fetch(&daemon, "GET", PATH, &tag);
    assert_eq!((held.status(), held.header("etag")), (304, Some(tag.as_str())));
    assert!(held.body.is_empty());
    // What the bundle does not show, and people coming and going.
    let mut other = crew();
    other["users"][0]["title"] = "Countess".into();
    other["users"].as_array_mut().unwrap().push(json!({ "id": "u9" }));
    replace(&daemon, "corp", &other);
    daemon.sync("corp");
    let more = fetch(&daemon, "GET", PATH, &tag);
    assert_eq!(more.status(), 200);
    assert_ne!(more.header("etag"), Some(tag.as_str()));
    replace(&daemon, "corp", &crew());
    daemon.sync("corp");
    assert_eq!(fetch(&daemon, "GET", PATH, &tag).status(), 304);
    // Another process, which read the records from its store.
    daemon.stop(PATIENCE);
    daemon.resume();
    assert_eq!(fetch(&daemon, "GET", PATH, &tag).status(), 304);
    assert_eq!(fetch(&daemon, "GET", PATH, "").body, first.body);
}

#[test]
fn a_bundle_is_about_what_is_asked_for() {
    let daemon = two();
    let ids = |path: &str| {
        let answer = fetch(&daemon, "GET", path, "");
        assert_eq!(answer.status(), 200, "{path}: {}", answer.text());
        let (groups, users) = entries(&answer);
        let of = |list: &Value| -> Vec<String> {
            let all = list.as_array().unwrap().iter();
            all.map(|one| one["id"].as_str().unwrap().to_owned()).collect()
        };
        (of(&groups).join(" "), of(&users).join(" "))
    };
    let is = |groups: &str, users: &str| (groups.to_owned(), users.to_owned());
    // The group g1 is another in each directory, and so nobody's here.
    assert_eq!(ids(PATH), is("g2", "p1 u1 u2"));
    assert_eq!(ids(&format!("{PATH}?directory=partner")), is("g1", "p1"));
    assert_eq!(ids(&format!("{PATH}?directory=corp&id=username")), is("g1 g2", "ada bob"));
    assert_eq!(
        ids(&format!("{PATH}?id=email&id=partner/attribute:badge")),
        is("g2", "7 ada@acme.example bob@acme.example")
    );
    for (query, status) in [
        ("directory=nowhere", 404),
        ("tenant=nobody", 404),
        ("id=name", 400),
        ("id=id&id=email", 400),
        ("id=nowhere/email", 400),
        ("max_age=x", 400),
    ] {
        let answer = fetch(&daemon, "GET", &format!("{PATH}?{query}"), "");
        assert_eq!(answer.status(), status, "{query}: {}", answer.text());
    }
}

#[test]
fn r3_a_directory_that_was_never_read_is_no_empty_bundle() {
    let mut daemon = Daemon::prepare(CORP);
    replace(&daemon, "corp", &json!("not a directory"));
    daemon.resume();
    daemon.sync("corp");
    assert_eq!(fetch(&daemon, "GET", PATH, "").status(), 503);
    assert_eq!(fetch(&daemon, "GET", "/v1/cedar/entities", "").status(), 503);
}

#[test]
fn our_own_provider_reads_it_back() {
    let daemon = one(&crew());
    let answer = fetch(&daemon, "GET", PATH, "");
    let mut mirror = Daemon::prepare(&CORP.replace("corp.json", "bundle.zip"));
    harness::write(mirror.dir().join("bundle.zip"), &answer.body);
    mirror.resume();
    mirror.wait_ready();
    let again = fetch(&mirror, "GET", PATH, "");
    assert_eq!(entries(&again), entries(&answer));
}
