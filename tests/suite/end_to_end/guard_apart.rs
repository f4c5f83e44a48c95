//! What the guard holds, told apart from what goes through beside it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::harness::daemon::Daemon;
use crate::harness::story::{assert_story, story};
use crate::harness::write;

/// A company in a bundle; changed in memory, then published in one move.
#[derive(Clone)]
struct Company {
    /// Each user, and whether they may sign in.
    users: BTreeMap<String, bool>,
    groups: BTreeMap<String, BTreeSet<String>>,
}

impl Company {
    /// 40 users `u10`..`u49`; all are in `all`, half of them in `half`, ten in `ops`.
    fn new() -> Company {
        let users: Vec<String> = (10..50).map(|n| format!("u{n}")).collect();
        let first = |count: usize| users[..count].iter().cloned().collect();
        let groups = [("all", first(40)), ("half", first(20)), ("ops", first(10))];
        Company {
            groups: groups.into_iter().map(|(name, members)| (name.to_owned(), members)).collect(),
            users: users.into_iter().map(|user| (user, true)).collect(),
        }
    }

    /// Takes the users out, and out of every group.
    fn dismiss(&mut self, users: impl IntoIterator<Item = u32>) {
        for user in users.into_iter().map(|n| format!("u{n}")) {
            self.users.remove(&user);
            self.groups.values_mut().for_each(|members| {
                members.remove(&user);
            });
        }
    }

    fn hire(&mut self, user: &str, group: &str) {
        self.users.insert(user.to_owned(), true);
        self.groups.entry(group.to_owned()).or_default().insert(user.to_owned());
    }

    fn leave(&mut self, group: &str, users: impl IntoIterator<Item = u32>) {
        let members = self.groups.get_mut(group).unwrap();
        users.into_iter().for_each(|n| assert!(members.remove(&format!("u{n}"))));
    }

    fn disable(&mut self, users: impl IntoIterator<Item = u32>) {
        users.into_iter().for_each(|n| {
            self.users.insert(format!("u{n}"), false);
        });
    }

    fn publish(&self, daemon: &Daemon) {
        let users = self.users.iter();
        let users = users.map(|(id, active)| json!({"id": id, "username": id, "active": active}));
        let groups = self.groups.keys().map(|id| json!({"id": id, "name": id}));
        let lists = self.groups.iter();
        let lists = lists.map(|(group, users)| json!({"group": group, "users": users}));
        let bundle = json!({
            "users": users.collect::<Value>(),
            "groups": groups.collect::<Value>(),
            "memberships": lists.collect::<Value>(),
        });
        let fresh = write(daemon.dir().join("fresh.json"), bundle.to_string());
        std::fs::rename(fresh, daemon.dir().join("roster.json")).unwrap();
    }

    /// Publishes and polls: what was told.
    fn tell(&self, daemon: &Daemon) -> Vec<Value> {
        self.publish(daemon);
        let events = daemon.sync_events("corp");
        super::assert_journal_is_the_picture(daemon);
        events
    }
}

/// A daemon that has read the company, with these lines in its directory.
fn started(settings: &str) -> (Daemon, Company) {
    let mut daemon = Daemon::prepare("");
    let company = Company::new();
    company.publish(&daemon);
    daemon.configure(&format!(
        "[directory.corp]\npoll = {{ min_delay = \"1h\", max_delay = \"1h\" }}\n{settings}\n\
         provider.bundle = {{ path = \"{}\" }}\n",
        daemon.dir().join("roster.json").display()
    ));
    daemon.resume();
    daemon.wait_ready();
    (daemon, company)
}

/// Each kind of event with how often it was told, but for `directory.held`.
fn kinds(events: &[Value]) -> Vec<(String, usize)> {
    let mut kinds = BTreeMap::new();
    for event in events.iter().filter(|event| event["type"] != "directory.held") {
        *kinds.entry(event["type"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    kinds.into_iter().collect()
}

fn hold(daemon: &Daemon) -> Value {
    daemon.directory("corp")["hold"].clone()
}

fn held_id(daemon: &Daemon) -> String {
    let hold = hold(daemon);
    hold["id"].as_str().unwrap_or_else(|| panic!("no hold: {hold}")).to_owned()
}

fn decide(daemon: &Daemon, id: &str, verb: &str) -> (u16, Value) {
    let path = format!("/v1/directories/corp/hold/{id}/{verb}");
    let answer = daemon.request("POST", &path, None);
    (answer.status(), answer.json())
}

fn users(daemon: &Daemon) -> u64 {
    daemon.get("/v1/users")["total"].as_u64().unwrap()
}

fn run(daemon: &Daemon, words: &[&str]) -> String {
    let output = daemon.command(words);
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{words:?}: {text}");
    text
}

#[test]
fn g3_additions_pass_while_a_mass_removal_is_held() {
    let (daemon, mut company) = started("");
    company.dismiss(30..40);
    company.hire("new", "ops");
    let told = company.tell(&daemon);
    let expected = ["directory.held", "group.user_added ops new", "user.created new"];
    assert_story(&told, &expected);
    assert_eq!(users(&daemon), 41);
    let held = hold(&daemon);
    let expected = json!({"users": 10, "groups": 0, "memberships": 0});
    assert_eq!((&held["removals"], &held["whole"]), (&expected, &Value::Null));
    assert_eq!(held["reason"], "would remove 10 of 40 users (25.0 %, limit 10 %)");
    assert_eq!(daemon.sync_events("corp"), [Value::Null; 0], "told once");
}

#[test]
fn g3_g4_a_held_set_keeps_its_name_while_leavers_go_through() {
    let (daemon, mut company) = started("");
    company.dismiss(30..40);
    company.publish(&daemon);
    daemon.sync("corp");
    let id = held_id(&daemon);
    company.dismiss([45]);
    let expected = ["user.deleted u45", "group.user_removed all u45"];
    assert_story(&company.tell(&daemon), &expected);
    company.dismiss([10]);
    company.hire("new", "half");
    company.tell(&daemon);
    assert_eq!(held_id(&daemon), id);
    assert_eq!(users(&daemon), 39);

    let (status, answer) = decide(&daemon, &id, "approve");
    assert_eq!((status, &answer["decision"]), (200, &json!("approved")));
    assert_eq!((users(&daemon), hold(&daemon)), (29, Value::Null));
    super::assert_journal_is_the_picture(&daemon);
    assert_eq!(decide(&daemon, &id, "approve").0, 404, "an approval is for once");
    assert_eq!(daemon.sync_events("corp"), [Value::Null; 0]);
}

#[test]
fn g4_a_leaver_is_not_held_with_a_group_that_was_emptied() {
    let (daemon, mut company) = started("");
    company.leave("ops", 10..20);
    company.dismiss([49]);
    company.leave("half", [15]);
    let told = company.tell(&daemon);
    let expected = [
        "directory.held",
        "group.user_removed all u49",
        "group.user_removed half u15",
        "user.deleted u49",
    ];
    assert_story(&told, &expected);
    let reason = "would remove 10 of 10 members of group ops (ops) (100.0 %, limit 50 %)";
    assert_eq!(hold(&daemon)["reason"], reason);
    decide(&daemon, &held_id(&daemon), "approve");
    assert_eq!(daemon.get("/v1/groups/ops/members")["total"], 0);
    super::assert_journal_is_the_picture(&daemon);
}

#[test]
fn whoever_is_disabled_counts_as_removed() {
    let (daemon, mut company) = started("");
    company.disable(30..36);
    company.hire("new", "all");
    let told = company.tell(&daemon);
    assert_story(&told, &["directory.held", "group.user_added all new", "user.created new"]);
    let reason = "would remove or disable 6 of 40 users (15.0 %, limit 10 %)";
    assert_eq!(hold(&daemon)["reason"], reason);
    assert_eq!(daemon.get("/v1/users/u30")["user"]["active"], true);
    company.disable([12]);
    assert_story(&company.tell(&daemon), &["user.updated u12"]);

    decide(&daemon, &held_id(&daemon), "approve");
    assert_eq!(daemon.get("/v1/users/u30")["user"]["active"], false);
    assert_eq!(daemon.sync_events("corp"), [Value::Null; 0]);
    super::assert_journal_is_the_picture(&daemon);
}

#[test]
fn limits_are_in_percent_and_in_number_with_a_floor() {
    let groups = "limits.group_members_removed_percent_max = 100";
    let (daemon, mut company) = started(&format!("{groups}\nlimits.users_removed_max = 2"));
    company.dismiss(30..32);
    assert_eq!(kinds(&company.tell(&daemon)).len(), 2, "two of forty");
    company.dismiss(32..35);
    company.tell(&daemon);
    assert_eq!(hold(&daemon)["reason"], "would remove 3 of 38 users (limit 2)");

    let floor = "limits.floor = 5\nlimits.users_removed_percent_max = 1";
    let (daemon, mut company) = started(&format!("{groups}\n{floor}"));
    company.dismiss(30..35);
    company.tell(&daemon);
    assert_eq!((users(&daemon), hold(&daemon)), (35, Value::Null));
    company.dismiss(35..41);
    company.tell(&daemon);
    let reason = "would remove 6 of 35 users (17.1 %, limit 1 %)";
    assert_eq!((users(&daemon), &hold(&daemon)["reason"]), (35, &json!(reason)));
}

#[test]
fn an_approval_of_a_set_that_changed_is_refused() {
    let (daemon, mut company) = started("");
    let whole = company.clone();
    company.dismiss(30..40);
    company.tell(&daemon);
    let first = held_id(&daemon);
    let mut healed = whole.clone();
    healed.dismiss(30..38);
    assert_story(&healed.tell(&daemon), &["directory.held"]);
    let second = held_id(&daemon);
    assert_ne!(first, second, "two came back");
    let (status, answer) = decide(&daemon, &first, "approve");
    assert_eq!((status, &answer["held"]), (409, &json!(second)));
    assert_eq!(users(&daemon), 40);
    assert_eq!(whole.tell(&daemon), [Value::Null; 0]);
    assert_eq!(hold(&daemon), Value::Null, "it clears when all came back");
    assert!(daemon.log().contains("the hold cleared by itself"));
}

#[test]
fn a_rejected_set_stays_out_until_it_changes_also_over_a_restart() {
    let (mut daemon, mut company) = started("");
    company.dismiss(30..40);
    company.tell(&daemon);
    let id = held_id(&daemon);
    let answer = run(&daemon, &["reject", &id]);
    assert!(answer.contains("until the provider's answer about them changes"), "{answer}");
    let since = hold(&daemon)["since"].clone();
    daemon.kill9();
    daemon.resume();
    let held = hold(&daemon);
    assert_eq!(
        (&held["id"], &held["rejected"], &held["since"]),
        (&json!(id), &json!(true), &since)
    );
    company.hire("new", "ops");
    let told = company.tell(&daemon);
    assert_story(&told, &["group.user_added ops new", "user.created new"]);
    assert_eq!(hold(&daemon)["rejected"], true);
    assert!(run(&daemon, &["hold"]).contains("(rejected)"));
    company.dismiss(20..30);
    let told = story(&company.tell(&daemon));
    assert!(told.contains(&"directory.held".to_owned()), "a larger set is another: {told:?}");
    assert_eq!(hold(&daemon)["rejected"], false);
}

#[test]
fn what_was_held_can_be_approved_right_after_a_restart() {
    let (mut daemon, mut company) = started("");
    company.dismiss(30..40);
    company.hire("new", "ops");
    company.tell(&daemon);
    let id = held_id(&daemon);
    daemon.kill9();
    daemon.resume();
    let shown = daemon.get("/v1/directories/corp/hold");
    assert_eq!((&shown["hold"]["id"], &shown["total"]), (&json!(id), &json!(20)), "{shown}");
    assert_eq!(decide(&daemon, &id, "approve").0, 200);
    assert_eq!(users(&daemon), 31);
    daemon.sync("corp");
    assert_eq!((users(&daemon), hold(&daemon)), (31, Value::Null));
    super::assert_journal_is_the_picture(&daemon);
}

#[test]
fn somebody_new_with_the_name_of_somebody_held_holds_everything() {
    let (daemon, mut company) = started("");
    company.dismiss(30..40);
    let mut bundle = company.clone();
    bundle.hire("new", "ops");
    bundle.users.remove("new");
    bundle.publish(&daemon);
    let path = daemon.dir().join("roster.json");
    let mut roster: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    roster["users"].as_array_mut().unwrap().push(json!({"id": "new", "username": "U30"}));
    write(path, roster.to_string());
    assert_story(&daemon.sync_events("corp"), &["directory.held"]);
    let whole = hold(&daemon)["whole"].clone();
    assert_eq!(whole, "user U30 (new) has a name of user u30 (u30), which is held");
    let (status, _) = decide(&daemon, &held_id(&daemon), "approve");
    assert_eq!((status, users(&daemon)), (200, 31));
    super::assert_journal_is_the_picture(&daemon);
}

#[test]
fn hold_all_holds_additions_too() {
    let (mut daemon, mut company) = started("on_hold = \"hold_all\"");
    company.dismiss(30..40);
    company.hire("new", "ops");
    assert_story(&company.tell(&daemon), &["directory.held"]);
    assert_eq!(users(&daemon), 40);
    let whole = hold(&daemon)["whole"].as_str().unwrap_or_default().to_owned();
    assert!(whole.contains("hold_all"), "{whole}");
    // A new process knows what is held and why; the changes it has to read.
    let listed = run(&daemon, &["hold"]);
    daemon.kill9();
    write(daemon.dir().join("roster.json"), "not whole");
    daemon.resume();
    let text = run(&daemon, &["hold"]);
    let (known, rest) = text.split_once("  hold_").expect("why nothing is listed");
    assert!(listed.starts_with(known) && known.contains("10 users deleted"), "{text}");
    assert!(rest.contains("has been read again: `rosterd sync corp` reads it now"), "{text}");
    company.tell(&daemon);
    assert_eq!(run(&daemon, &["hold"]), listed);
    assert_eq!(decide(&daemon, &held_id(&daemon), "approve").0, 200);
    assert_eq!(users(&daemon), 31);
    super::assert_journal_is_the_picture(&daemon);
}

#[test]
fn a_plan_shows_what_would_be_held_and_what_would_go_through() {
    let (daemon, mut company) = started("");
    company.dismiss(30..40);
    company.hire("new", "ops");
    company.publish(&daemon);
    let text = run(&daemon, &["plan", "corp", "--limit", "5"]);
    for line in [
        "would be held: 10 members removed, 10 users deleted as hold_",
        "would remove 10 of 40 users (25.0 %, limit 10 %)",
        "would be applied: 1 members added, 1 users created",
        "1–5 of 22; --page and --limit show others",
    ] {
        assert!(text.contains(line), "no {line:?} in {text}");
    }
    assert_eq!(text.matches("held: removes user").count(), 5, "{text}");
    let json = |words: &[&str]| -> Value { serde_json::from_str(&run(&daemon, words)).unwrap() };
    let mut shown = Vec::new();
    for page in ["1", "2", "3", "4"] {
        let plan = json(&["plan", "corp", "--limit", "7", "--page", page, "--json"]);
        assert_eq!(plan["plans"][0]["total"], 22);
        shown.extend(plan["plans"][0]["changes"].as_array().unwrap().clone());
    }
    let all = json(&["plan", "corp", "--limit", "1000", "--json"]);
    assert_eq!(Value::Array(shown), all["plans"][0]["changes"]);
    let created = json!({"held": false, "text": "creates user new (new)"});
    assert!(all["plans"][0]["changes"].as_array().unwrap().contains(&created), "{all}");
    assert_eq!((users(&daemon), hold(&daemon)), (40, Value::Null), "a plan changes nothing");
}

#[test]
fn a_hold_is_shown_page_by_page_and_measured() {
    let (daemon, mut company) = started("");
    company.dismiss(30..40);
    company.leave("ops", 10..18);
    company.tell(&daemon);
    let text = run(&daemon, &["hold", "corp", "--limit", "3", "--page", "2"]);
    assert!(text.contains("4–6 of 28"), "{text}");
    assert!(text.contains("would remove 10 of 40 users"), "{text}");
    assert!(text.contains("would remove 8 of 10 members of group ops (ops)"), "{text}");
    let answer: Value = serde_json::from_str(&run(&daemon, &["hold", "--json"])).unwrap();
    assert_eq!(answer["holds"][0]["hold"]["reasons"].as_array().unwrap().len(), 2);
    let metrics = daemon.request("GET", "/metrics", None).text();
    for (category, count) in [("users", 10), ("groups", 0), ("memberships", 8)] {
        let line = format!(
            "rosterd_directory_held_removals{{directory=\"corp\",category=\"{category}\"}} {count}"
        );
        assert!(metrics.contains(&line), "no {line}");
    }
}
