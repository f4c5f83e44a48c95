//! Whole reports, as people see them.

use std::time::Duration;

use super::*;
use crate::secret::Secret;

/// The report about `text`, read with a few keys of every kind.
fn report(text: &str) -> String {
    match read_in(text, &sample) {
        Ok(_) => "no mistake".to_owned(),
        Err(report) => report.to_string(),
    }
}

fn check(text: &str, expected: &str) {
    let report = report(text);
    assert_eq!(report.trim_end(), expected.trim(), "\n--- got\n{report}\n");
}

fn read_in<T>(text: &str, reader: &dyn Fn(&mut Section<'_>) -> Option<T>) -> Result<T, Report> {
    let variable = |name: &str| (name == "TOKEN").then(|| "s3cret\n".into());
    read("rosterd.toml", text, &Surroundings::new("/nowhere".into(), &variable), reader)
}

#[derive(Debug)]
struct Sample {
    secret: Option<Secret>,
    delay: Option<Duration>,
}

fn sample(root: &mut Section<'_>) -> Option<Sample> {
    let mut found = None;
    for (_, mut section) in root.sections("directory") {
        let poll = section.section("poll");
        let delay = poll.and_then(|mut poll| {
            poll.one_of("mode", &[("fast", 1), ("slow", 2)]);
            poll.percent("share");
            poll.duration("min_delay")
        });
        section.integer("port", 1..=65_535);
        section.boolean("keep_raw");
        section.texts("groups");
        section.url("url");
        let secret = section.secret("bind_password");
        if section.required_text("base").is_some() {
            found = Some(Sample { secret, delay });
        }
    }
    root.size("cache");
    root.path("socket");
    found
}

#[test]
fn a_right_file_reads() {
    let text = "[directory.corp]\nbase = \"x\"\npoll.min_delay = \"1m\"\nport = 0x10\n\
                groups = \"one\"\nurl = \"http://[::1]:80/\"\nbind_password.env = \"TOKEN\"\n";
    let sample = read_in(text, &sample).unwrap();
    assert_eq!(sample.delay, Some(Duration::from_secs(60)));
    assert_eq!(sample.secret, Some(Secret::new("s3cret".to_owned())));
}

#[test]
fn a_misspelled_key_names_the_nearest() {
    check(
        "[directory.corp]\nbase = \"x\"\npoll.min_dealy = \"1m\"\nzzz = 1\n",
        r#"
error: unknown key `min_dealy` in `directory.corp.poll`
 --> rosterd.toml:3:6
  |
3 | poll.min_dealy = "1m"
  |      ^^^^^^^^^
  |
  = hint: did you mean `min_delay`?

error: unknown key `zzz` in `directory.corp`
 --> rosterd.toml:4:1
  |
4 | zzz = 1
  | ^^^
  |
  = hint: known here: `base`, `bind_password`, `groups`, `keep_raw`, `poll`, `port`, `url`
"#
        .trim_start(),
    );
}

#[test]
fn wrong_types_and_values_are_all_told_at_once() {
    check(
        r#"cache = "12"
directory.b = 1
socket = ""
[directory.corp]
poll = { mode = "fats", share = 101, min_delay = "5 m" }
port = 70000
keep_raw = "yes"
groups = [1]
url = "http://example.org"
bind_password.env = "NOPE"
[directory.x]
base = "x"
poll.min_delay = 5
"#,
        r#"error: `12` is not a size
 --> rosterd.toml:1:9
  |
1 | cache = "12"
  |         ^^^^
  |
  = hint: write it like "512KiB", "64MiB" or "1GiB"

error: `b` must be a table, not an integer
 --> rosterd.toml:2:15
  |
2 | directory.b = 1
  |               ^

error: `socket` is empty
 --> rosterd.toml:3:10
  |
3 | socket = ""
  |          ^^

error: `base` is missing in `directory.corp`
 --> rosterd.toml:4:12
  |
4 | [directory.corp]
  |            ^^^^

error: `mode` cannot be "fats"
 --> rosterd.toml:5:17
  |
5 | poll = { mode = "fats", share = 101, min_delay = "5 m" }
  |                 ^^^^^^
  |
  = hint: did you mean "fast"?

error: `share` must be between 0 and 100
 --> rosterd.toml:5:33
  |
5 | poll = { mode = "fats", share = 101, min_delay = "5 m" }
  |                                 ^^^

error: `5 m` is not a duration
 --> rosterd.toml:5:50
  |
5 | poll = { mode = "fats", share = 101, min_delay = "5 m" }
  |                                                  ^^^^^
  |
  = hint: write it like "90s", "5m", "1h30m" or "100ms"

error: `port` must be between 1 and 65535
 --> rosterd.toml:6:8
  |
6 | port = 70000
  |        ^^^^^

error: `keep_raw` must be true or false, not a string
 --> rosterd.toml:7:12
  |
7 | keep_raw = "yes"
  |            ^^^^^

error: `groups` must hold strings only
 --> rosterd.toml:8:10
  |
8 | groups = [1]
  |          ^^^

error: `url` must use https://
 --> rosterd.toml:9:7
  |
9 | url = "http://example.org"
  |       ^^^^^^^^^^^^^^^^^^^^
  |
  = hint: plain http:// is accepted for loopback hosts only

error: the environment variable `NOPE` is not set
  --> rosterd.toml:10:21
   |
10 | bind_password.env = "NOPE"
   |                     ^^^^^^

error: `min_delay` must be a duration in quotes, like "30s", not an integer
  --> rosterd.toml:13:18
   |
13 | poll.min_delay = 5
   |                  ^"#,
    );
}

#[test]
fn syntax_errors_hide_their_consequences_but_nothing_else() {
    check(
        "[directory.a]\nport = 1 2\nbase = x\n[directory.b\ncolour = 1\n[directory.c]\nkeep_raw = 1\nurl = \n",
        r#"error: string values must be quoted
 --> rosterd.toml:2:8
  |
2 | port = 1 2
  |        ^^^
  |
  = hint: write it in quotes

error: string values must be quoted
 --> rosterd.toml:3:8
  |
3 | base = x
  |        ^
  |
  = hint: write it in quotes

error: unclosed table
 --> rosterd.toml:4:13
  |
4 | [directory.b
  |             ^
  |
  = hint: expected `]`

error: `keep_raw` must be true or false, not an integer
 --> rosterd.toml:7:12
  |
7 | keep_raw = 1
  |            ^

error: string values must be quoted
 --> rosterd.toml:8:7
  |
8 | url = 
  |       ^
  |
  = hint: write it in quotes"#,
    );
    check(
        "[directory.a]\nbase = \"x\"\nport = 1\nport = 2\n[directory.a]\n",
        r#"error: duplicate key `port`
 --> rosterd.toml:4:1
  |
4 | port = 2
  | ^^^^
  |
  = hint: every name and every key of a table may stand once only

error: duplicate key `a`
 --> rosterd.toml:5:12
  |
5 | [directory.a]
  |            ^
  |
  = hint: every name and every key of a table may stand once only"#,
    );
}

#[test]
fn a_secret_in_the_file_is_refused_and_never_shown() {
    for secret in [
        "bind_password = \"hunter2\"",
        "bind_password = 'hunter2",
        "bind_password = hunter2",
        "bind_password = [\"hunter2\"]",
        "bind_password = { value = \"hunter2\" }",
        "bind_password = \"\"\"\nhunter2\n\"\"\"",
        "pasword = \"hunter2\"",
        "[directory.corp.bind_password]\nfile = \"x\"\nvalue = \"hunter2\"",
        "url = \"https://me:hunter2@example.org\"",
        "poll = { share = 101, token = \"hunter2\", mode = 1 }",
    ] {
        let report = report(&format!("[directory.corp]\nport = \"x\"\n{secret}\nbase = 1\n"));
        assert!(report.starts_with("error: "), "{report}");
        assert!(!report.contains("hunter"), "{report}");
    }
}

#[test]
fn a_refused_secret_comes_with_the_way_to_do_it() {
    check(
        "[directory.corp]\nbase = \"x\"\nbind_password = \"hunter2\"\n",
        r#"error: `bind_password` must not stand in the configuration itself
 --> rosterd.toml:3:17
  |
3 | bind_password = ***
  |                 ^^^
  |
  = hint: put it into a file and write bind_password = { file = "…" }; { credential = "…" } (systemd) and { env = "…" } work too"#,
    );
    check(
        "[directory.corp]\nbase = \"x\"\npasword = \"hunter2\"\n",
        r#"error: unknown key `pasword` in `directory.corp`
 --> rosterd.toml:3:1
  |
3 | pasword = ***
  | ^^^^^^^
  |
  = hint: did you mean `bind_password`?"#,
    );
}

#[test]
fn places_stay_true_behind_a_mask() {
    check(
        "directory.a = { token = \"a-very-long-secret-value\", base = 1 }\n",
        r#"error: unknown key `token` in `directory.a`
 --> rosterd.toml:1:17
  |
1 | directory.a = { token = ***, base = 1 }
  |                 ^^^^^
  |
  = hint: known here: `base`, `bind_password`, `groups`, `keep_raw`, `poll`, `port`, `url`

error: `base` must be a string, not an integer
 --> rosterd.toml:1:60
  |
 ::: 
1 | directory.a = { token = ***, base = 1 }
  |                                     ^"#,
    );
}

#[test]
fn secrets_that_cannot_be_had_say_why() {
    check(
        r#"[directory.a]
bind_password = { file = "missing" }
base = "x"
[directory.b]
bind_password = { env = "NOPE", credential = "c" }
[directory.c]
base = " "
bind_password = { credential = "c" }
[directory.d]
base = "x"
bind_password = { credential = "../c" }
"#,
        r#"error: cannot read the secret file /nowhere/missing: no such file
 --> rosterd.toml:2:26
  |
2 | bind_password = { file = "missing" }
  |                          ^^^^^^^^^
  |
  = hint: the user that runs rosterd must be allowed to read it

error: `base` is missing in `directory.b`
 --> rosterd.toml:4:12
  |
4 | [directory.b]
  |            ^

error: `bind_password` says more than once where the secret is
 --> rosterd.toml:5:1
  |
5 | bind_password = { env = "NOPE", credential = "c" }
  | ^^^^^^^^^^^^^
  |
  = hint: give one of `file`, `credential` and `env`

error: `base` is empty
 --> rosterd.toml:7:8
  |
7 | base = " "
  |        ^^^

error: cannot read the credential `c`: rosterd was not started by systemd with credentials
 --> rosterd.toml:8:32
  |
8 | bind_password = { credential = "c" }
  |                                ^^^
  |
  = hint: add `LoadCredential=c:/path/to/the/secret` to the unit

error: `../c` is not the name of a credential
  --> rosterd.toml:11:32
   |
11 | bind_password = { credential = "../c" }
   |                                ^^^^^^
   |
   = hint: it is the part before the colon in `LoadCredential=`"#,
    );
}

#[test]
fn a_secret_file_loses_its_newlines_and_must_not_be_empty() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    let text = format!("[directory.a]\nbase = \"x\"\nbind_password.file = {path:?}\n");
    let secret = |content: &[u8]| {
        std::fs::write(&path, content).unwrap();
        read_in(&text, &sample).map(|sample| sample.secret.unwrap().expose().to_owned())
    };
    assert_eq!(secret(b"a b\nc\r\n").unwrap(), "a b\nc");
    assert!(secret(b"\n").unwrap_err().to_string().contains("is empty"));
    assert!(secret(b"\xff").unwrap_err().to_string().contains("is not UTF-8"));
}

#[test]
fn a_fingerprint_follows_the_settings_and_what_they_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    let fingerprint = |text: &str, secret: &str| {
        std::fs::write(&path, secret).unwrap();
        let text = format!("[a]\nsecret.file = {path:?}\n{text}");
        let read = |root: &mut Section<'_>| {
            let mut section = root.section("a")?;
            section.secret("secret");
            section.texts("x");
            section.boolean("y");
            Some(section.fingerprint())
        };
        read_in(&text, &read).unwrap()
    };
    let one = fingerprint("x = 'b'\ny = true", "s");
    assert_eq!(one, fingerprint("# other layout\ny = true\nx = \"b\"", "s"));
    assert_ne!(one, fingerprint("x = ['b']\ny = true", "s"));
    assert_ne!(one, fingerprint("x = 'b'\ny = true", "t"));
    assert_eq!(format!("{one:?}"), "Fingerprint(…)");
}

#[test]
fn a_file_that_cannot_be_read_says_so() {
    let report = read_file(Path::new("/nowhere/rosterd.toml"), sample).unwrap_err();
    let expected = "error: cannot read the configuration: no such file\n\
                    --> /nowhere/rosterd.toml\n = hint: name the file with --config";
    assert_eq!(report.to_string(), expected);
}
