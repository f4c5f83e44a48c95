//! The writer, end to end: the real process and a databroker.

use rustix::process::Signal;

use super::databroker::Code;
use super::*;
use crate::harness::tls::Tls;

/// Type, id, and whether it is there: of every record put since the last time.
fn puts(stub: &Stub) -> Vec<(String, String, bool)> {
    let puts = std::mem::take(&mut stub.data().puts);
    let records = puts.into_iter().flat_map(|(_, records)| records);
    records.map(|record| (record.r#type, record.id, record.deleted_at.is_none())).collect()
}

fn record(kind: &str, id: &str, is_there: bool) -> (String, String, bool) {
    (kind.to_owned(), id.to_owned(), is_there)
}

/// A daemon whose databroker has everything.
fn started(stub: &Stub) -> Daemon {
    let mut daemon = prepare(stub, 0, "", &crew());
    daemon.resume();
    daemon.wait_ready();
    wait_for(stub, &daemon, &expected(&daemon));
    wait_level(&daemon);
    daemon
}

/// Bob moves to core, eve comes back, ada goes.
fn later() -> Value {
    json!({
        "users": [
            { "id": "u2", "username": "bob", "email": "bob@acme.example" },
            { "id": "u3", "username": "eve", "email": "eve@acme.example" },
        ],
        "groups": [
            { "id": "g1", "name": "eng", "members": ["g2", "u3"] },
            { "id": "g2", "name": "core", "email": "core@acme.example", "members": ["u2"] },
        ],
    })
}

#[test]
fn what_is_committed_is_put_and_then_only_what_differs() {
    let stub = Stub::start(1);
    let daemon = started(&stub);
    let users = stub.data().data(USER);
    assert_eq!(users["u1"]["group_ids"], json!(["g1", "g2"]), "nested groups count");
    assert!(!users.contains_key("u3"), "r19: who is deactivated has no record");
    assert_eq!(puts(&stub).len(), 4);
    replace(&daemon, "corp", &later());
    daemon.sync("corp");
    wait_for(&stub, &daemon, &expected(&daemon));
    let put = [record(USER, "u1", false), record(USER, "u2", true), record(USER, "u3", true)];
    assert_eq!(puts(&stub), put);
    assert_eq!(stub.data().needless, 0);
}

#[test]
fn nothing_is_put_when_nothing_changed() {
    let stub = Stub::start(1);
    let daemon = started(&stub);
    puts(&stub);
    daemon.sync("corp");
    let mut other = crew();
    other["users"][0]["title"] = "Countess".into();
    replace(&daemon, "corp", &other);
    daemon.sync("corp");
    wait_level(&daemon);
    assert_eq!(puts(&stub), []);
}

#[test]
fn a_databroker_that_lost_its_memory_is_told_everything_again() {
    let mut stub = Stub::start(1);
    let daemon = started(&stub);
    let all = expected(&daemon);
    stub.restart();
    wait_for(&stub, &daemon, &all);
    // And one that comes back with what it had is told nothing.
    wait_level(&daemon);
    puts(&stub);
    stub.stop();
    stub.resume();
    replace(&daemon, "corp", &later());
    daemon.sync("corp");
    wait_for(&stub, &daemon, &expected(&daemon));
    assert_eq!(puts(&stub).len(), 3);
    assert_eq!(stub.data().needless, 0);
}

#[test]
fn after_a_restart_only_what_changed_is_put() {
    let stub = Stub::start(1);
    let mut daemon = started(&stub);
    for (round, content) in [later(), crew()].into_iter().enumerate() {
        if round == 0 {
            daemon.stop(PATIENCE);
        } else {
            daemon.kill9();
        }
        puts(&stub);
        stub.data().calls.clear();
        replace(&daemon, "corp", &content);
        daemon.resume();
        wait_level(&daemon);
        daemon.sync("corp");
        wait_for(&stub, &daemon, &expected(&daemon));
        wait_level(&daemon);
        assert_eq!(puts(&stub).len(), 3, "{}", daemon.log());
        assert_eq!(stub.data().calls.get("SyncLatest"), None, "the journal tells enough");
        assert_eq!(stub.data().needless, 0);
    }
}

#[test]
fn what_was_committed_while_the_databroker_was_away_is_told_by_the_journal() {
    let mut stub = Stub::start(1);
    let mut daemon = started(&stub);
    stub.stop();
    replace(&daemon, "corp", &later());
    daemon.sync("corp");
    let all = expected(&daemon);
    daemon.kill9();
    puts(&stub);
    stub.data().calls.clear();
    stub.resume();
    daemon.resume();
    wait_for(&stub, &daemon, &all);
    wait_level(&daemon);
    assert_eq!(puts(&stub).len(), 3);
    assert_eq!(stub.data().calls.get("SyncLatest"), None);
    assert_eq!(stub.data().needless, 0);
}

#[test]
fn other_settings_lead_to_asking_for_everything() {
    let stub = Stub::start(1);
    let daemon = started(&stub);
    stub.data().calls.clear();
    daemon.configure(&format!("{CORP}{}", writer(&stub, 0, "id = \"email\"")));
    daemon.signal(Signal::HUP);
    let (users, groups) = expected(&daemon);
    let by_email = users.into_values().map(|mut data| {
        data["id"] = data["email"].clone();
        (data["id"].as_str().unwrap().to_owned(), data)
    });
    wait_for(&stub, &daemon, &(by_email.collect(), groups));
    assert_eq!(stub.data().calls["SyncLatest"], 2);
    // A writer that is not configured any more leaves what it wrote.
    daemon.configure(CORP);
    daemon.signal(Signal::HUP);
    wait_until("the writer to end", PATIENCE, || match stub.data().holder() {
        None => Ok(()),
        Some(client) => Err(client),
    });
    assert_eq!(stub.data().data(USER).len(), 2);
}

#[test]
fn two_daemons_with_one_lease_are_one_writer() {
    let stub = Stub::start(2);
    let mut first = started(&stub);
    let mut second = prepare(&stub, 1, "", &crew());
    second.resume();
    second.wait_ready();
    wait_until("the second to have asked", PATIENCE, || {
        let text = second.request("GET", "/metrics", None).text();
        let is_standby = text.contains("rosterd_pomerium_writing{pomerium=\"core\"} 0");
        if is_standby && stub.data().calls["AcquireLease"] >= 3 { Ok(()) } else { Err(text) }
    });
    assert_eq!(stub.data().holder(), Some(0));
    puts(&stub);
    // Given back at once by one that stops, and after its time by one that dies.
    first.kill9();
    wait_level(&second);
    assert_eq!(stub.data().holder(), Some(1));
    assert_eq!(puts(&stub), [], "what is there is what it would put");
    replace(&second, "corp", &later());
    second.sync("corp");
    wait_for(&stub, &second, &expected(&second));
    replace(&first, "corp", &later());
    first.resume();
    second.stop(PATIENCE);
    wait_level(&first);
    assert_eq!(stub.data().holder(), Some(0));
}

#[test]
fn a_lost_lease_ends_writing_until_it_is_had_again() {
    let stub = Stub::start(1);
    let daemon = started(&stub);
    puts(&stub);
    stub.data().give_lease_away(Duration::from_secs(2));
    replace(&daemon, "corp", &later());
    wait_until("the loss to be noticed", PATIENCE, || {
        let text = daemon.request("GET", "/metrics", None).text();
        let is_away = text.contains("rosterd_pomerium_writing{pomerium=\"core\"} 0");
        if is_away { Ok(()) } else { Err(text) }
    });
    daemon.sync("corp");
    // Any `Put` of ours before that is a complaint of the stub.
    wait_for(&stub, &daemon, &expected(&daemon));
    assert_eq!(stub.data().holder(), Some(0));
    assert_eq!(puts(&stub).len(), 3);
}

#[test]
fn a_dead_databroker_holds_up_nobody() {
    let mut stub = Stub::start(1);
    stub.stop();
    let mut daemon = prepare(&stub, 0, "", &crew());
    daemon.resume();
    daemon.wait_ready();
    assert_eq!(daemon.get("/v1/check?user=ada&group=eng")["member"], true);
    replace(&daemon, "corp", &later());
    daemon.sync("corp");
    assert_eq!(daemon.get("/v1/check?user=bob&group=core")["member"], true);
    wait_until("the failure to be told", PATIENCE, || {
        let log = daemon.log();
        if log.contains("not writing to the databroker") { Ok(()) } else { Err(log) }
    });
    stub.resume();
    wait_for(&stub, &daemon, &expected(&daemon));
}

#[test]
fn records_of_ours_that_nobody_is_any_more_go_and_those_of_others_stay() {
    let stub = Stub::start(1);
    let ours = |id| [("id", id), ("written_by", "rosterd"), ("directory", "gone")];
    stub.data().plant(USER, "stale", &ours("stale"));
    stub.data().plant(GROUP, "old", &ours("old"));
    stub.data().plant(USER, "theirs", &[("id", "theirs")]);
    stub.data().plant(USER, "u1", &[("id", "u1"), ("display_name", "before us")]);
    let mut daemon = prepare(&stub, 0, "", &crew());
    daemon.resume();
    daemon.wait_ready();
    let (mut users, groups) = expected(&daemon);
    users.insert("theirs".to_owned(), json!({ "id": "theirs" }));
    wait_for(&stub, &daemon, &(users, groups));
}

#[test]
fn r3_s7_a_directory_that_was_not_read_yet_empties_nothing() {
    let stub = Stub::start(1);
    let daemon = started(&stub);
    let all = expected(&daemon);
    drop(daemon);
    // Another state directory, and files that cannot be read.
    let partner = "[directory.partner]\npoll.min_delay = \"1h\"\npoll.max_delay = \"1h\"\n\
                   provider.bundle = { path = \"partner.json\" }\n";
    let config = format!("{CORP}{partner}{}", writer(&stub, 0, ""));
    let mut daemon = prepare(&stub, 0, "", &json!("not a directory"));
    daemon.configure(&config);
    let people = json!({ "users": [{ "id": "p1", "username": "pat" }], "groups": [] });
    replace(&daemon, "partner", &people);
    daemon.resume();
    for name in ["corp", "partner"] {
        daemon.sync(name);
    }
    let partner = expected(&daemon).0;
    assert_eq!(partner.keys().collect::<Vec<_>>(), ["p1"]);
    let (mut users, groups) = all;
    users.extend(partner);
    wait_for(&stub, &daemon, &(users, groups));
    // Then it can be read, and others are in it.
    replace(&daemon, "corp", &later());
    daemon.sync("corp");
    wait_for(&stub, &daemon, &expected(&daemon));
}

#[test]
fn r14_r22_an_id_that_two_have_is_nobodys() {
    let stub = Stub::start(1);
    let mut daemon = prepare(&stub, 0, "id = \"email\"", &crew());
    let partner = "[directory.partner]\npoll.min_delay = \"1h\"\npoll.max_delay = \"1h\"\n\
                   provider.bundle = { path = \"partner.json\" }\n";
    let config = format!("{CORP}{partner}{}", writer(&stub, 0, "id = \"email\""));
    daemon.configure(&config);
    let people = json!({
        "users": [
            { "id": "p1", "username": "pat", "email": "ada@acme.example" },
            { "id": "p2", "username": "kim", "email": "eve@acme.example" },
            { "id": "p3", "username": "lee" },
        ],
        "groups": [{ "id": "g1", "name": "other", "members": ["p1", "p2"] }],
    });
    replace(&daemon, "partner", &people);
    daemon.resume();
    daemon.wait_ready();
    wait_level(&daemon);
    let users = stub.data().data(USER);
    let ids: Vec<&String> = users.keys().collect();
    // Ada's address is two people's; eve of corp is deactivated, so hers is kim's.
    assert_eq!(ids, ["bob@acme.example", "eve@acme.example"]);
    // The group g1 is another in each directory.
    assert_eq!(users["eve@acme.example"]["group_ids"], json!([]));
    assert_eq!(stub.data().data(GROUP).into_keys().collect::<Vec<_>>(), ["g2"]);
    let text = daemon.request("GET", "/metrics", None).text();
    assert!(text.contains("rosterd_pomerium_left_out{pomerium=\"core\"} 2"), "{text}");
    // Once pat is gone, the address is ada's alone.
    let only_kim = json!({ "users": [people["users"][1]], "groups": [] });
    replace(&daemon, "partner", &only_kim);
    daemon.sync("partner");
    wait_until("ada", PATIENCE, || {
        let users = stub.data().data(USER);
        let ada = &users.get("ada@acme.example").cloned().unwrap_or_default();
        if ada["group_ids"] == json!(["g1", "g2"]) { Ok(()) } else { Err(ada.to_string()) }
    });
}

#[test]
fn large_directories_go_in_requests_under_a_mebibyte_and_what_is_larger_is_refused() {
    let stub = Stub::start(1);
    let long = "x".repeat(300);
    let groups = 4_000;
    let group = |n: usize| {
        let members = if n == 0 { json!(["all", "one"]) } else { json!(["all"]) };
        json!({ "id": format!("{n:05}-{long}"), "name": format!("group {n}"), "members": members })
    };
    let users = json!([{ "id": "all", "username": "all" }, { "id": "one", "username": "one" }]);
    let groups: Vec<Value> = (0..groups).map(group).collect();
    let content = json!({ "users": users, "groups": groups });
    let mut daemon = prepare(&stub, 0, "", &content);
    // A request takes a while where the stub is not optimised.
    let patient = writer(&stub, 0, "").replace("3s", "60s");
    daemon.configure(&format!("{CORP}{patient}"));
    daemon.resume();
    daemon.wait_ready();
    let mut all = expected(&daemon);
    assert!(all.0.remove("all").unwrap().to_string().len() > 1 << 20);
    wait_for(&stub, &daemon, &all);
    assert!(stub.data().puts.len() >= 3, "{} requests", stub.data().puts.len());
    wait_level(&daemon);
    let text = daemon.request("GET", "/metrics", None).text();
    assert!(text.contains("rosterd_pomerium_refused{pomerium=\"core\"} 1"), "{text}");
    assert!(daemon.log().contains("larger than a request may be"));
}

#[test]
fn tls_is_trusted_by_the_configured_authority_only() {
    let dir = harness::scratch("pomerium-tls");
    let (good, bad) =
        (Tls::make(&dir.path().join("a"), &[]), Tls::make(&dir.path().join("b"), &[]));
    let stub = Stub::start_tls(&good);
    let ca = |tls: &Tls| format!("ca = \"{}\"", tls.ca.display());
    let mut daemon = prepare(&stub, 0, &ca(&bad), &crew());
    daemon.resume();
    daemon.wait_ready();
    wait_until("the certificate to be refused", PATIENCE, || {
        let log = daemon.log();
        if log.contains("invalid peer certificate") { Ok(()) } else { Err(log) }
    });
    assert!(stub.data().calls.is_empty());
    daemon.configure(&format!("{CORP}{}", writer(&stub, 0, &ca(&good))));
    daemon.signal(Signal::HUP);
    wait_for(&stub, &daemon, &expected(&daemon));
}

#[test]
fn a_wrong_secret_is_told_and_a_right_one_taken_up() {
    let stub = Stub::start(1);
    let mut daemon = prepare(&stub, 0, "", &crew());
    let wrong = harness::secrets::note("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=".to_owned());
    harness::write_private(daemon.dir().join("shared"), wrong);
    daemon.resume();
    daemon.wait_ready();
    wait_until("the refusal", PATIENCE, || {
        let log = daemon.log();
        if log.contains("Unauthenticated") { Ok(()) } else { Err(log) }
    });
    stub.data().complaints.clear();
    harness::write_private(daemon.dir().join("shared"), stub.secret());
    daemon.signal(Signal::HUP);
    wait_until("the secret to be taken up", PATIENCE, || {
        stub.data().complaints.clear();
        if stub.data().holder() == Some(0) { Ok(()) } else { Err("no lease") }
    });
    wait_for(&stub, &daemon, &expected(&daemon));
}

#[test]
fn an_answer_that_is_lost_costs_a_comparison() {
    let stub = Stub::start(1);
    let daemon = started(&stub);
    puts(&stub);
    stub.data().fail("Put", Code::Unavailable, true);
    replace(&daemon, "corp", &later());
    daemon.sync("corp");
    wait_for(&stub, &daemon, &expected(&daemon));
    wait_level(&daemon);
    assert_eq!(puts(&stub).len(), 3, "all of it was done");
    assert_eq!(stub.data().needless, 0);
}

const PAGE: &str = include_str!("../../../docs/pomerium.md");

#[test]
fn the_page_shows_what_is_written() {
    let stub = Stub::start(1);
    let path = format!("{}/fixtures/acme", env!("CARGO_MANIFEST_DIR"));
    let directory = CORP.replace("corp.json", &path).replace("corp", "acme");
    let mut daemon = prepare(&stub, 0, "", &crew());
    daemon.configure(&format!("{directory}{}", writer(&stub, 0, "")));
    daemon.resume();
    daemon.wait_ready();
    wait_level(&daemon);
    let users = stub.data().data(USER);
    let groups = stub.data().data(GROUP);
    let blocks: Vec<Value> = PAGE
        .split("```json\n")
        .skip(1)
        .map(|rest| serde_json::from_str(rest.split("```").next().unwrap()).unwrap())
        .collect();
    assert_eq!(blocks, [users["u-1008"].clone(), groups["g-prod"].clone()]);
    let text = daemon.request("GET", "/metrics", None).text();
    let is_shown = |line: &&str| line.starts_with("rosterd_pomerium_") && line.contains('{');
    let without_moments = |line: &&str| !line.contains("timestamp");
    let shown: Vec<&str> = PAGE.lines().filter(is_shown).filter(without_moments).collect();
    let told: Vec<&str> = text.lines().filter(is_shown).filter(without_moments).collect();
    assert_eq!(shown, told);
}
