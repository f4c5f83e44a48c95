//! The whole configuration: defaults, cross-checks, the example, reloads.

use std::time::Duration;

use super::*;
use crate::provider::{Directory, Patience, Settings};

#[derive(Debug)]
struct Fake(String);

impl Settings for Fake {
    fn kind(&self) -> &'static str {
        "fake"
    }

    fn origin(&self) -> String {
        self.0.clone()
    }

    fn fingerprint(&self) -> String {
        String::new()
    }

    fn open(&self, _: Patience) -> Box<dyn Directory> {
        unreachable!("no test of the configuration crawls")
    }
}

fn fake(section: &mut Section<'_>) -> Option<Box<dyn Settings>> {
    section.secret("password");
    let raw = if section.boolean("keep_raw") == Some(true) { " raw" } else { "" };
    let host = section.required_text("host")?;
    Some(Box::new(Fake(format!("{host}{raw}"))))
}

fn rawless(section: &mut Section<'_>) -> Option<Box<dyn Settings>> {
    Some(Box::new(Fake(section.required_text("host")?)))
}

const KINDS: Kinds<'static> = &[("fake", fake), ("other", rawless)];

pub(super) fn read(text: &str) -> Result<Config, Report> {
    let variable = |name: &str| match name {
        "TOKEN" => Some("t0ken".into()),
        "WEBHOOK" => Some("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into()),
        _ => None,
    };
    let surroundings = Surroundings::new("/base".into(), &variable);
    section::read("rosterd.toml", text, &surroundings, |root| Config::read(root, KINDS))
}

fn check(text: &str, expected: &str) {
    let report = read(text).map_or_else(|report| report.to_string(), |_| "no mistake".to_owned());
    assert_eq!(report, expected, "\n--- got\n{report}\n");
}

const MINIMAL: &str = "directory.a.provider.fake.host = \"h\"\n";

#[test]
fn a_minimal_file_has_the_documented_defaults() {
    let config = read(MINIMAL).unwrap();
    assert_eq!(config.state_dir, Path::new("/var/lib/rosterd"));
    assert_eq!(config.query.socket, Path::new(DEFAULT_SOCKET));
    assert_eq!((config.query.mode, config.query.listen), (0o660, None));
    assert_eq!(config.log, LogConfig { format: LogFormat::Text, filter: "info".to_owned() });
    assert_eq!(config.store, StoreConfig::default());
    let directory = &config.directories["a"];
    assert_eq!((directory.tenant.as_str(), directory.product.as_str()), ("default", "default"));
    assert_eq!(directory.poll, PollConfig::default());
    assert_eq!(directory.limits, crate::sync::guard::Limits::default());
}

#[test]
fn every_setting_arrives() {
    let config = read(
        r#"
state_dir = "state"
[query]
socket = "./query.sock"
mode = "0600"
connections_max = 77
[log]
format = "json"
level = "info,rosterd::sync=debug"
[store]
journal_retention = "100d"
cache = "64MiB"
[directory.a]
tenant = "t"
product = "p"
poll = { min_delay = "100ms", max_delay = "1s", request_timeout = "5s", stall_timeout = "6s", full_every = "1h", checkpoint_every = "0s", checkpoint_max_age = "2h" }
limits = { users_removed_percent_max = 1, groups_removed_percent_max = 2.5, members_removed_percent_max = 100, groups_removed_max = 3, floor = 0 }
on_hold = "hold_all"
keep_raw = true
provider.fake = { host = "h", password = { env = "TOKEN" } }
"#,
    )
    .unwrap();
    assert_eq!(config.state_dir, Path::new("/base/state"));
    assert_eq!(config.query.socket, Path::new("/base/./query.sock"));
    assert_eq!((config.query.mode, config.query.connections_max), (0o600, 77));
    assert_eq!(config.log.filter, "info,rosterd::sync=debug");
    let days = |n: u64| Duration::from_hours(24 * n);
    assert_eq!(config.store.journal_retention, days(100));
    assert_eq!(config.store.history_retention, days(100));
    let poll = config.directories["a"].poll;
    assert_eq!(poll.min_delay, Duration::from_millis(100));
    assert_eq!(poll.patience.stall_timeout, Duration::from_secs(6));
    assert_eq!(poll.checkpoints.every, Duration::ZERO);
    assert_eq!(poll.checkpoints.max_age, Duration::from_hours(2));
    let directory = &config.directories["a"];
    assert_eq!(directory.limits.groups_removed_percent_max, 2.5);
    assert_eq!((directory.limits.groups_removed_max, directory.limits.floor), (Some(3), 0));
    assert_eq!(directory.on_hold, crate::sync::guard::OnHold::HoldAll);
    assert_eq!(config.directories["a"].provider.origin(), "h raw");
}

#[test]
fn a_default_gives_way_to_what_is_written() {
    let delays = |text: &str| {
        let config = read(&format!("{MINIMAL}directory.a.poll.{text}")).unwrap();
        let poll = config.directories["a"].poll;
        (poll.min_delay.as_secs(), poll.max_delay.as_secs())
    };
    assert_eq!(delays("min_delay = \"1h\""), (3600, 3600));
    assert_eq!(delays("max_delay = \"5s\""), (5, 5));
}

#[test]
fn the_number_of_events_has_a_floor_and_the_history_is_never_shorter() {
    let stored = |text: &str| read(&format!("{MINIMAL}[store]\n{text}\n")).map(|all| all.store);
    let store = stored("history_events_max = 5000").unwrap();
    assert_eq!(store.journal_events_max, Some(5_000));
    let store = stored("journal_events_max = 1000").unwrap();
    assert_eq!((store.journal_events_max, store.history_events_max), (Some(1_000), None));
    for (text, complaint) in [
        ("journal_events_max = 999", "`journal_events_max` must be at least 1000"),
        (
            "journal_events_max = 2000\nhistory_events_max = 1000",
            "`history_events_max` must not be less than `journal_events_max`",
        ),
    ] {
        let report = stored(text).unwrap_err();
        assert_eq!(report.mistakes()[0].message, complaint);
    }
}

#[test]
fn cross_checks_point_at_the_value() {
    check(
        r#"[store]
journal_retention = "2d"
history_retention = "1d"
[log]
level = "loud"
[directory.a]
poll = { min_delay = "5m", max_delay = "1m", stall_timeout = "10ms" }
provider = { fake = { host = "h" }, other = { host = "h" } }
[directory."b/c"]
tenant = ""
[directory.d]
provider.fkae = { host = "h" }
"#,
        r#"error: `history_retention` must not be shorter than `journal_retention`
 --> rosterd.toml:3:21
  |
3 | history_retention = "1d"
  |                     ^^^^
  |
  = hint: events are told from the history

error: `loud` is not a level
 --> rosterd.toml:5:9
  |
5 | level = "loud"
  |         ^^^^^^
  |
  = hint: write one of "error", "warn", "info", "debug", "trace" and "off", or a filter like "info,rosterd::sync=debug"

error: `max_delay` is shorter than `min_delay`
 --> rosterd.toml:7:40
  |
7 | poll = { min_delay = "5m", max_delay = "1m", stall_timeout = "10ms" }
  |                                        ^^^^
  |
  = hint: make it at least "5m"

error: `stall_timeout` must be between 100ms and 1d
 --> rosterd.toml:7:62
  |
7 | poll = { min_delay = "5m", max_delay = "1m", stall_timeout = "10ms" }
  |                                                              ^^^^^^

error: a directory has one provider; this one has `fake` and `other`
 --> rosterd.toml:8:37
  |
8 | provider = { fake = { host = "h" }, other = { host = "h" } }
  |                                     ^^^^^
  |
  = hint: give each a directory of its own

error: `b/c` is not a name
 --> rosterd.toml:9:12
  |
9 | [directory."b/c"]
  |            ^^^^^
  |
  = hint: a name has 1 to 64 letters, digits, `-` and `_`

error: `provider` is missing in `directory.b/c`
 --> rosterd.toml:9:12
  |
9 | [directory."b/c"]
  |            ^^^^^
  |
  = hint: write provider.KIND = { … }; the kinds are "fake" and "other"

error: `tenant` is not a name
  --> rosterd.toml:10:10
   |
10 | tenant = ""
   |          ^^
   |
   = hint: a name has 1 to 64 letters, digits, `-` and `_`

error: unknown key `fkae` in `directory.d.provider`
  --> rosterd.toml:12:10
   |
12 | provider.fkae = { host = "h" }
   |          ^^^^
   |
   = hint: did you mean `fake`?"#,
    );
}

#[test]
fn the_guard_refuses_limits_that_make_no_sense() {
    check(
        "[directory.a]\nlimits.users_removed_max = 0\nlimits.groups_removed_percent_max = 101\n\
         limits.users_removd_max = 5\non_hold = \"apply\"\nprovider.fake.host = \"h\"\n",
        r#"error: `users_removed_max` must be at least 1
 --> rosterd.toml:2:28
  |
2 | limits.users_removed_max = 0
  |                            ^

error: `groups_removed_percent_max` must be between 0 and 100
 --> rosterd.toml:3:37
  |
3 | limits.groups_removed_percent_max = 101
  |                                     ^^^

error: unknown key `users_removd_max` in `directory.a.limits`
 --> rosterd.toml:4:8
  |
4 | limits.users_removd_max = 5
  |        ^^^^^^^^^^^^^^^^
  |
  = hint: did you mean `users_removed_max`?

error: `on_hold` cannot be "apply"
 --> rosterd.toml:5:11
  |
5 | on_hold = "apply"
  |           ^^^^^^^
  |
  = hint: did you mean "apply_safe"?"#,
    );
}

#[test]
fn raw_objects_cannot_be_kept_where_there_are_none() {
    check(
        "[directory.a]\nkeep_raw = true\nprovider.other.host = \"h\"\n",
        r#"error: `other` has no raw objects to keep
 --> rosterd.toml:2:12
  |
2 | keep_raw = true
  |            ^^^^"#,
    );
}

#[test]
fn a_webhook_names_directories_that_exist() {
    check(
        "[directory.corp.provider.fake]\nhost = \"h\"\n[webhook.a]\nurl = \"https://example.org\"\n\
         secret.env = \"WEBHOOK\"\ndirectories = [\"crop\", \"corp\", \"other\"]\n",
        r#"error: there is no directory `crop`
 --> rosterd.toml:6:15
  |
6 | directories = ["crop", "corp", "other"]
  |               ^^^^^^^^^^^^^^^^^^^^^^^^^
  |
  = hint: did you mean "corp"?

error: there is no directory `other`
 --> rosterd.toml:6:15
  |
6 | directories = ["crop", "corp", "other"]
  |               ^^^^^^^^^^^^^^^^^^^^^^^^^
  |
  = hint: known are "corp""#,
    );
}

/// The blocks of `text`, read: users, groups and permissions, or the mistakes.
fn access(text: &str) -> Result<crate::query::AccessConfig, String> {
    read(&format!("{MINIMAL}{text}"))
        .map(|config| config.query.access)
        .map_err(|report| report.to_string())
}

#[test]
fn who_may_ask_is_told_by_names_and_numbers() {
    let found = access(
        "[query.allow.engines]\nusers = [\"root\", 4711]\npermissions = [\"ask\"]\n\
         [query.allow.people]\nusers = \"4712\"\ngroups = [\"root\", \"50\"]\n\
         permissions = [\"operate\", \"list\", \"list\"]\n\
         [query.tokens.opa]\ntoken.env = \"TOKEN\"\npermissions = \"ask\"\n",
    )
    .unwrap();
    let peers = found.peers.unwrap();
    let told: Vec<_> = peers
        .iter()
        .map(|rule| (rule.users.clone(), rule.groups.clone(), rule.permissions.words()))
        .collect();
    assert_eq!(
        told,
        [(vec![0, 4711], vec![], vec!["ask"]), (vec![4712], vec![0, 50], vec!["list", "operate"]),]
    );
    let token = &found.tokens[0];
    assert_eq!((token.name.as_str(), token.permissions.words()), ("query.tokens.opa", vec!["ask"]));
    assert!(!format!("{token:?}").contains("t0ken"));
}

#[test]
fn one_token_alone_permits_everything_as_ever() {
    let found = access("[query]\nlisten = \"127.0.0.1:1\"\ntoken.env = \"TOKEN\"\n").unwrap();
    assert_eq!(found.peers, None);
    let token = &found.tokens[0];
    assert_eq!(token.name, "query.token");
    assert_eq!(token.permissions, crate::query::Permissions::ALL);
    let none = access("[query]\ntoken.env = \"TOKEN\"\n").unwrap();
    assert_eq!(none.tokens.len(), 1);
    assert_eq!(access("").unwrap(), crate::query::AccessConfig::default());
}

#[test]
fn mistakes_about_who_may_ask_are_shown_in_their_place() {
    check(
        r#"[query]
listen = "127.0.0.1:1"
token.env = "TOKEN"
[query.allow.a]
users = ["daemn", "no such user at all"]
groups = [true]
permissions = ["ask", "lisst", "everything"]
[query.allow.b]
permissions = []
[query.allow."c d"]
user = "root"
[query.tokens.e]
token.env = "TOKEN"
permissions = ["ask"]
[query.tokens.f]
token = "inline"
[directory.a.provider.fake]
host = "h"
"#,
        r#"error: there is no user `daemn`
 --> rosterd.toml:5:9
  |
5 | users = ["daemn", "no such user at all"]
  |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  |
  = hint: did you mean "daemon"?

error: there is no user `no such user at all`
 --> rosterd.toml:5:9
  |
5 | users = ["daemn", "no such user at all"]
  |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  |
  = hint: names are looked up in /etc/passwd; of all others, give the number

error: `groups` must hold names and numbers only
 --> rosterd.toml:6:10
  |
6 | groups = [true]
  |          ^^^^^^
  |
  = hint: like ["daemon", 1000]

error: there is no permission `lisst`
 --> rosterd.toml:7:15
  |
7 | permissions = ["ask", "lisst", "everything"]
  |               ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  |
  = hint: did you mean "list"?

error: there is no permission `everything`
 --> rosterd.toml:7:15
  |
7 | permissions = ["ask", "lisst", "everything"]
  |               ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  |
  = hint: the permissions are "ask", "list", "watch" and "operate"

error: `users` is missing in `query.allow.b`
 --> rosterd.toml:8:14
  |
8 | [query.allow.b]
  |              ^
  |
  = hint: name those who may: users = ["…"], groups = ["…"]

error: `permissions` is empty
 --> rosterd.toml:9:15
  |
9 | permissions = []
  |               ^^
  |
  = hint: the permissions are "ask", "list", "watch" and "operate"

error: `c d` is not a name
  --> rosterd.toml:10:14
   |
10 | [query.allow."c d"]
   |              ^^^^^
   |
   = hint: a name has 1 to 64 letters, digits, `-` and `_`

error: `users` is missing in `query.allow.c d`
  --> rosterd.toml:10:14
   |
10 | [query.allow."c d"]
   |              ^^^^^
   |
   = hint: name those who may: users = ["…"], groups = ["…"]

error: `permissions` is missing in `query.allow.c d`
  --> rosterd.toml:10:14
   |
10 | [query.allow."c d"]
   |              ^^^^^
   |
   = hint: the permissions are "ask", "list", "watch" and "operate"

error: unknown key `user` in `query.allow.c d`
  --> rosterd.toml:11:1
   |
11 | user = "root"
   | ^^^^
   |
   = hint: did you mean `users`?

error: it is the same token as `query.token`
  --> rosterd.toml:13:1
   |
13 | token.env = "TOKEN"
   | ^^^^^
   |
   = hint: give each a secret of its own: who asks is told by the token

error: `permissions` is missing in `query.tokens.f`
  --> rosterd.toml:15:15
   |
15 | [query.tokens.f]
   |               ^
   |
   = hint: the permissions are "ask", "list", "watch" and "operate"

error: `token` must not stand in the configuration itself
  --> rosterd.toml:16:9
   |
16 | token = ***
   |         ^^^
   |
   = hint: put it into a file and write token = { file = "…" }; { credential = "…" } (systemd) and { env = "…" } work too"#,
    );
}

#[test]
fn rules_that_say_nothing_do_not_open_the_socket() {
    check(
        &format!("{MINIMAL}[query]\nallow = {{}}\n"),
        r#"error: `allow` has no blocks
 --> rosterd.toml:3:1
  |
3 | allow = {}
  | ^^^^^
  |
  = hint: write query.allow.NAME = { users = ["…"], permissions = ["ask"] }, or leave it out"#,
    );
    let mistake = |text: &str| {
        let report = read(&format!("{MINIMAL}[query]\n{text}\n")).unwrap_err();
        report.mistakes()[0].message.clone()
    };
    assert_eq!(mistake("listen = \"127.0.0.1:1\"\ntokens = {}"), "`tokens` has no blocks");
    assert_eq!(mistake("listen = \"127.0.0.1:1\""), "`listen` needs a `token`");
    assert_eq!(mistake("allow = true"), "`allow` must be a table, not true or false");
    // Rules about nobody leave root alone.
    let nobody = access("[query.allow.a]\nusers = []\npermissions = [\"ask\"]\n").unwrap();
    assert_eq!(nobody.peers.unwrap()[0].users, [0_u32; 0]);
}

#[test]
fn a_reload_tells_who_may_ask_from_where() {
    let read = |text: &str| read(&format!("{MINIMAL}{text}")).unwrap();
    let old = read("[query.allow.a]\nusers = 1\npermissions = \"ask\"\n");
    let new = read("[query.allow.a]\nusers = 1\npermissions = \"list\"\n");
    let changes = Changes::between(&old, &new);
    assert_eq!((changes.access, changes.query), (true, false));
    assert_eq!(changes.at_next_start(), [""; 0]);
    assert!(!changes.is_empty());
    let other =
        read("[query]\nmode = \"0600\"\n[query.allow.a]\nusers = 1\npermissions = \"ask\"\n");
    let changes = Changes::between(&old, &other);
    assert_eq!((changes.access, changes.query), (false, true));
    assert_eq!(changes.at_next_start(), ["query"]);
}

#[test]
fn a_reload_sees_a_changed_webhook() {
    let read = |url: &str| {
        read(&format!("{MINIMAL}[webhook.a]\nurl = \"{url}\"\nsecret.env = \"WEBHOOK\"\n"))
            .unwrap_or_else(|report| panic!("{report}"))
    };
    let (old, new) = (read("https://a.example.org"), read("https://b.example.org"));
    assert_eq!(Changes::between(&old, &new).webhooks.changed, ["a"]);
    assert!(Changes::between(&old, &old).webhooks.is_empty());
    assert_eq!(new.webhooks["a"].url.as_str(), "https://b.example.org/");
}

#[test]
fn a_file_without_directories_is_refused() {
    check(
        "",
        r#"error: `directory` is missing
--> rosterd.toml
 = hint: add a block [directory.NAME]"#,
    );
    check(
        "directory = {}\n",
        r#"error: `directory` is missing
--> rosterd.toml
 = hint: add a block [directory.NAME]"#,
    );
}

#[test]
fn a_reload_knows_what_changed() {
    let old = "state_dir = \"/a\"\n[directory.a.provider.fake]\nhost = \"h\"\n\
               [directory.b.provider.fake]\nhost = \"h\"\n[directory.c.provider.fake]\nhost = \"h\"\n";
    let new = "state_dir = \"/b\"\nlog.level = \"warn\"\nquery.mode = \"0600\"\n\
               [directory.a.provider.fake]\nhost = 'h' # the same\n\
               [directory.b.provider.fake]\nhost = \"i\"\n[directory.d.provider.fake]\nhost = \"h\"\n";
    let (old, new) = (read(old).unwrap(), read(new).unwrap());
    let changes = Changes::between(&old, &new);
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(
        changes.directories,
        NameChanges {
            added: names(&["d"]),
            removed: names(&["c"]),
            changed: names(&["b"]),
            unchanged: names(&["a"]),
        }
    );
    assert_eq!((changes.query, changes.log, changes.store), (true, true, false));
    assert_eq!(changes.needs_restart, ["state_dir"]);
    assert!(Changes::between(&old, &old).is_empty());
}

#[test]
fn a_reload_is_told_by_keys_and_never_with_a_secret() {
    let outline = |text: &str, password: &str| {
        let variable = |_: &str| Some(password.into());
        let surroundings = Surroundings::new("/base".into(), &variable);
        let read = |root: &mut Section<'_>| Config::read(root, KINDS);
        section::read("rosterd.toml", text, &surroundings, read).unwrap().outline
    };
    let host = |host: &str| {
        format!("provider.fake = {{ host = \"{host}\", password = {{ env = \"P\" }} }}\n")
    };
    let old = format!(
        "log.level = \"info\"\nlog.format = \"json\"\n[directory.a]\n{}\
         poll = {{ max_delay = \"1h\" }}\nlimits = {{ users_removed_percent_max = 10 }}\n",
        host("h.example.org/t0ken")
    );
    let new = format!(
        "log.level = \"debug\"\n[directory.a]\n{}poll = {{ max_delay = \"2h\" }}\n\
         limits = {{ users_removed_percent_max = 50.5 }}\n[directory.b]\n{}",
        host("i.example.org/0ther"),
        host("hunter")
    );
    let (old, new) = (outline(&old, "s3cret"), outline(&new, "an0ther"));
    let difference = old.difference(&new);
    assert_eq!(
        difference.changed,
        [
            "directory.a.limits.users_removed_percent_max: 10 -> 50.5",
            "directory.a.poll.max_delay: 1h -> 2h",
            "directory.a.provider.fake.host",
            "directory.a.provider.fake.password (content)",
            "log.level: info -> debug",
        ]
    );
    assert_eq!(difference.removed, ["log.format = json"]);
    assert_eq!(
        difference.added,
        [
            "directory.b.provider.fake.host = hunter",
            "directory.b.provider.fake.password (content)",
            "directory.b.provider.fake.password.env",
        ]
    );
    assert_eq!(old.difference(&old), Difference::default());
}

#[test]
fn a_client_finds_the_socket_in_a_file_it_may_not_read_the_secrets_of() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rosterd.toml");
    std::fs::write(&path, "[query]\nsocket = \"q.sock\"\ntoken.file = \"/root/x\"\n[[[").unwrap();
    assert_eq!(socket_of(&path), Ok(folder.path().join("q.sock")));
    std::fs::write(&path, "").unwrap();
    assert_eq!(socket_of(&path), Ok(DEFAULT_SOCKET.into()));
    assert_eq!(socket_of(Path::new("/nowhere")), Err("no such file".to_owned()));
}

#[test]
fn rust_log_wins_over_the_file() {
    let filter =
        |variable: Option<&str>| LogConfig::default().overridden(variable.map(Into::into)).filter;
    assert_eq!(filter(None), "info");
    assert_eq!(filter(Some("debug,sled=off")), "debug,sled=off");
    assert_eq!(filter(Some("")), "info");
    assert_eq!(filter(Some("loud")), "info");
}

const EXAMPLE: &str = include_str!("../../config.example.toml");

#[test]
fn the_example_works_as_it_stands() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config.example.toml");
    let config = Config::load(Path::new(path)).unwrap_or_else(|report| panic!("{report}"));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    assert_eq!(config.state_dir, folder.join("var/state"));
    assert_eq!(config.query.socket, folder.join("var/query.sock"));
    let provider = &config.directories["acme"].provider;
    assert_eq!(provider.kind(), "bundle");
    assert!(Path::new(&provider.origin()).join("users.csv").exists());
}

/// The example with everything in it switched on: `#key = …` and `#[table]`
/// count, `# words` do not.
fn whole_example() -> String {
    let switch_on = |line: &str| match line.strip_prefix('#') {
        Some(rest) if !rest.is_empty() && !rest.starts_with(' ') => rest.to_owned(),
        _ => line.to_owned(),
    };
    EXAMPLE.lines().map(|line| switch_on(line) + "\n").collect()
}

#[test]
fn the_example_shows_every_key_and_only_keys_that_exist() {
    let text = whole_example();
    let surroundings = Surroundings::new(PathBuf::new(), &|_| None);
    let (_, notes) =
        section::read_noting(&text, &surroundings, |root| Config::read(root, registry::KINDS));
    // Secrets and certificates that are not there are no concern here.
    let wrong = |note: &&report::Note| {
        matches!(note.kind, report::NoteKind::Syntax | report::NoteKind::Unknown)
    };
    let wrong: Vec<_> = notes.notes.iter().filter(wrong).map(|note| &note.message).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    let (table, _) = toml::de::DeTable::parse_recoverable(&text);
    let mut shown = std::collections::BTreeSet::new();
    collect_keys("", table.get_ref(), &mut shown);
    // Shown once: in the directory's own block, and at the head of the file.
    let elsewhere = |key: &str| {
        let last = key.rsplit('.').next().unwrap_or(key);
        mask::is_source(last) || (last == "keep_raw" && key.contains(".provider."))
    };
    let hidden: Vec<_> =
        notes.asked.iter().filter(|key| !shown.contains(*key) && !elsewhere(key)).collect();
    assert!(hidden.is_empty(), "not in config.example.toml: {hidden:?}");
}

/// Breaks a text in one place.
fn broken(text: &str, at: usize, length: usize, insert: &str) -> String {
    let boundary = |at: usize| (at..=text.len()).find(|at| text.is_char_boundary(*at));
    let start = boundary(at).unwrap_or(text.len());
    let end = boundary(start + length).unwrap_or(text.len());
    format!("{}{insert}{}", &text[..start], &text[end..])
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(64))]

    #[test]
    fn however_broken_a_file_is_the_report_is_drawn_and_tells_no_secret(
        cuts in proptest::collection::vec((0.0..1.0f64, 0..40usize, "[\\[\\]{}=\"'#.,\n\r\t a-zé\u{1}👩]{0,4}"), 0..6),
        behind in 0.0..1.0f64,
    ) {
        // The line is put in last, so that it is whole.
        let mut text = whole_example();
        for (at, length, insert) in cuts {
            text = broken(&text, (at * text.len() as f64) as usize, length, &insert);
        }
        let lines: Vec<&str> = text.split('\n').collect();
        let (before, after) = lines.split_at((behind * lines.len() as f64) as usize);
        let text = [before, &["bind_password = \"hunter2\""], after].concat().join("\n");
        let report = match read(&text) {
            Ok(_) => String::new(),
            Err(report) => format!("{report}{report:?}{}", report.render(true)),
        };
        proptest::prop_assert!(!report.contains("hunter2"), "{}", report);
    }
}

fn collect_keys(
    prefix: &str,
    table: &toml::de::DeTable<'_>,
    found: &mut std::collections::BTreeSet<String>,
) {
    for (key, value) in table.iter() {
        let named =
            ["directory", "webhook", "opa", "pomerium", "ext_authz", "query.allow", "query.tokens"];
        let is_name = named.iter().any(|table| prefix.strip_suffix('.') == Some(table));
        let path = format!("{prefix}{}", if is_name { "*" } else { key.get_ref() });
        if let Some(table) = value.get_ref().as_table() {
            collect_keys(&format!("{path}."), table, found);
        }
        found.insert(path);
    }
}
