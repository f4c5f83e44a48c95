//! Who may ask a real daemon: processes of other users and groups, tokens, and
//! what a reload does to both.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::bundle;
use crate::harness::daemon::{Daemon, ROSTERD};
use crate::harness::process::Process;
use crate::harness::{free_port, wait_until, write_private};

const PATIENCE: Duration = Duration::from_secs(30);

const CHECK: &str = "/v1/check?user=a&group=c";

/// One route for each permission: ask, list, watch, operate.
const ROUTES: [(&str, &str); 4] = [
    ("GET", CHECK),
    ("GET", "/v1/users"),
    ("GET", "/v1/events"),
    ("POST", "/v1/directories/corp/sync"),
];

/// A user, the first group, the others.
#[derive(Clone, Copy)]
struct Somebody(u32, u32, &'static [u32]);

impl Somebody {
    /// A command that runs as this user.
    fn command(&self, program: &str) -> Command {
        let Somebody(uid, gid, groups) = self;
        let mut command = Command::new("setpriv");
        command.args(["--reuid", &uid.to_string(), "--regid", &gid.to_string()]);
        let groups = groups.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
        match groups.is_empty() {
            true => command.arg("--clear-groups"),
            false => command.args(["--groups", &groups]),
        };
        command.arg(program);
        command
    }

    /// One request, by a process of its own.
    fn asks(&self, daemon: &Daemon, method: &str, path: &str) -> (u16, Value) {
        let mut curl = self.command("curl");
        curl.args(["-s", "-X", method, "-w", "\n%{http_code}", "--unix-socket"]);
        curl.arg(daemon.socket()).arg(format!("http://rosterd{path}"));
        let output = curl.output().expect("curl starts");
        let text = String::from_utf8(output.stdout).expect("text");
        let (body, status) = text.rsplit_once('\n').expect("a status");
        (status.parse().expect("a number"), serde_json::from_str(body).unwrap_or_default())
    }

    /// Which of [`ROUTES`] are answered.
    fn may(&self, daemon: &Daemon) -> [bool; 4] {
        ROUTES.map(|(method, path)| {
            let (status, body) = self.asks(daemon, method, path);
            assert_eq!(status == 403, body["type"] == "urn:rosterd:forbidden", "{status} {body}");
            assert!(status == 403 || (200..300).contains(&status), "{status} {body}");
            status != 403
        })
    }
}

/// Only root can become somebody else.
fn can_be_others() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        eprintln!("not run: it takes root to ask as other users");
    }
    is_root
}

/// A daemon with these rules, on a socket that everybody reaches.
fn started(rules: &str) -> Daemon {
    let mut daemon = Daemon::prepare("");
    let open = std::fs::Permissions::from_mode(0o711);
    std::fs::set_permissions(daemon.dir(), open).expect("one's own folder");
    configure(&daemon, rules);
    daemon.resume();
    daemon.wait_ready();
    daemon
}

fn configure(daemon: &Daemon, rules: &str) {
    let head = "query.mode = \"0666\"\n";
    daemon.configure(&format!("{head}{}\n{rules}", bundle(daemon, "corp")));
}

fn acts(daemon: &Daemon, action: &str) -> Vec<Value> {
    let page = daemon.get(&format!("/v1/audit?limit=1000&action={action}"));
    page["entries"].as_array().expect("a list").clone()
}

/// Reloads, and waits until it is done.
fn reload(daemon: &Daemon, rules: &str) {
    let before = acts(daemon, "config.reload").len();
    configure(daemon, rules);
    daemon.signal(Signal::HUP);
    wait_until("the reload", PATIENCE, || {
        let now = acts(daemon, "config.reload").len();
        if now > before { Ok(()) } else { Err(daemon.log()) }
    });
}

/// The sum of all samples whose line begins like this.
fn metric(daemon: &Daemon, start: &str) -> u64 {
    let text = daemon.request("GET", "/metrics", None).text();
    let lines = text.lines().filter(|line| line.starts_with(start));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

const RULES: &str = "[query.allow.engines]\nusers = [4711]\npermissions = [\"ask\"]\n\
                     [query.allow.readers]\ngroups = [4800]\npermissions = [\"list\", \"watch\"]\n\
                     [query.allow.operators]\nusers = [4713]\npermissions = [\"operate\"]\n";

#[test]
fn without_rules_whoever_reaches_the_socket_may_do_everything() {
    if can_be_others() {
        let daemon = started("");
        assert_eq!(Somebody(4711, 4711, &[]).may(&daemon), [true; 4]);
        assert_eq!(metric(&daemon, "rosterd_access_denied_total"), 0);
    }
}

#[test]
fn users_groups_and_supplementary_groups_have_what_their_rules_say() {
    if !can_be_others() {
        return;
    }
    let daemon = started(RULES);
    let (t, f) = (true, false);
    for (who, expected) in [
        (Somebody(4711, 4711, &[]), [t, f, f, f]),
        (Somebody(4712, 4800, &[]), [f, t, t, f]),
        (Somebody(4712, 4712, &[4799, 4800, 4801]), [f, t, t, f]),
        (Somebody(4711, 4711, &[4800]), [t, t, t, f]),
        (Somebody(4713, 4800, &[]), [f, t, t, t]),
        (Somebody(4712, 4712, &[4799]), [f, f, f, f]),
        // A number is a user's or a group's, not both.
        (Somebody(4800, 4711, &[4711, 4713]), [f, f, f, f]),
        (Somebody(0, 4711, &[]), [t, t, t, t]),
    ] {
        let Somebody(uid, gid, groups) = who;
        assert_eq!(who.may(&daemon), expected, "{uid} {gid} {groups:?}\n{}", daemon.log());
    }
    let nobody = Somebody(4712, 4712, &[]);
    assert_eq!(nobody.asks(&daemon, "GET", "/healthz").0, 200);
    assert_eq!(nobody.asks(&daemon, "GET", "/readyz").0, 403);
    assert_eq!(Somebody(4711, 4711, &[]).asks(&daemon, "GET", "/readyz").0, 200);
}

#[test]
fn whoever_is_refused_is_told_counted_and_recorded() {
    if !can_be_others() {
        return;
    }
    let mut daemon = started(RULES);
    let engine = Somebody(4711, 4711, &[]);
    let (status, problem) = engine.asks(&daemon, "POST", "/v1/directories/corp/sync");
    assert_eq!((status, &problem["permission"]), (403, &json!("operate")));
    assert_eq!(problem["permitted"], json!(["ask"]));
    for _ in 0..9 {
        assert_eq!(engine.asks(&daemon, "GET", "/v1/users").0, 403);
    }
    let series = "rosterd_access_denied_total{via=\"socket\",reason=\"permission\"";
    assert_eq!(metric(&daemon, &format!("{series},permission=\"list\"}}")), 9);
    assert_eq!(metric(&daemon, &format!("{series},permission=\"operate\"}}")), 1);
    // Nothing was done, and the log of the command says what is missing.
    // At most one of the harness, which waits for the first poll.
    let syncs = acts(&daemon, "directory_sync.sync");
    assert!(syncs.iter().all(|act| !act.to_string().contains("4711")), "{syncs:?}");
    let mut command = engine.command(ROSTERD);
    let said = command.arg("--socket").arg(daemon.socket()).arg("users").output().unwrap();
    assert_eq!(said.status.code(), Some(2));
    let said = String::from_utf8(said.stderr).unwrap();
    assert!(said.contains("the permission `list`") && said.contains("hint: "), "{said}");

    daemon.stop(PATIENCE);
    daemon.resume();
    let denied = acts(&daemon, "access.denied");
    let mut reasons = String::new();
    for entry in &denied {
        assert_eq!(entry["actor"], json!({"kind": "process", "uid": 4711, "gid": 4711}));
        assert_eq!(entry["targets"], json!([{"kind": "listener", "name": "query.socket"}]));
        write!(reasons, "{}", entry["metadata"]["reason"]).unwrap();
    }
    assert!(reasons.contains("list") && reasons.contains("operate"), "{reasons}");
    let count = denied.iter().filter_map(|entry| entry["metadata"]["count"].as_u64()).sum::<u64>();
    assert_eq!(count, 11, "all are counted: {denied:?}");
    assert!(denied.len() < 11, "not one by one: {denied:?}");
}

#[test]
fn a_reload_changes_who_may_and_ends_what_is_no_longer_permitted() {
    if !can_be_others() {
        return;
    }
    let daemon = started("");
    let (reader, other) = (Somebody(4712, 4712, &[4800]), Somebody(4711, 4711, &[]));
    let follow = |who: &Somebody| {
        let mut curl = who.command("curl");
        curl.args(["-s", "-N", "-H", "accept: text/event-stream", "--unix-socket"]);
        curl.arg(daemon.socket()).arg("http://rosterd/v1/events").stdout(Stdio::piped());
        // A process of the harness: it never outlives the test.
        let arguments: Vec<_> = curl.get_args().map(ToOwned::to_owned).collect();
        let mut process = Process::start("setpriv", |command| {
            command.args(&arguments).stdout(Stdio::piped());
        });
        let mut first = [0_u8; 1];
        let stdout = process.child().stdout.as_mut().expect("piped");
        stdout.read_exact(&mut first).expect("the stream has begun");
        process
    };
    let (mut stays, mut ends) = (follow(&reader), follow(&other));
    reload(&daemon, RULES);
    // A transfer that breaks off is curl's failure.
    assert!(!ends.wait(PATIENCE).success());
    assert!(stays.ended().is_none(), "the other stream goes on");
    assert_eq!(other.may(&daemon), [true, false, false, false]);
    assert_eq!(reader.may(&daemon), [false, true, true, false]);
    assert_eq!(metric(&daemon, "rosterd_connections_closed_by_us_total{reason=\"permission\"}"), 1);

    reload(&daemon, &RULES.replace("4711", "4719"));
    assert_eq!(other.may(&daemon), [false; 4]);
    assert!(!daemon.log().contains("take effect at the next start"), "{}", daemon.log());
    reload(&daemon, "");
    assert_eq!(other.may(&daemon), [true; 4]);
}

/// One request over TCP: the status.
fn over_tcp(port: u16, token: &str, method: &str, path: &str) -> u16 {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\
         content-length: 0\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0)
}

#[test]
fn tokens_have_their_own_permissions_and_names_also_after_a_reload() {
    let mut daemon = Daemon::prepare("");
    let port = free_port();
    let secret = |name: &str, secret: &str| write_private(daemon.dir().join(name), secret);
    let files =
        [secret("all", "t0p-s3cret"), secret("opa", "0pa-s3cret"), secret("grid", "gr1d-x")];
    let configure = |daemon: &Daemon, tokens: &str| {
        daemon.configure(&format!(
            "query.listen = \"127.0.0.1:{port}\"\nquery.token = {{ file = \"{}\" }}\n{}{tokens}",
            files[0].display(),
            bundle(daemon, "corp")
        ));
    };
    let opa = |permissions: &str| {
        format!(
            "[query.tokens.opa]\ntoken = {{ file = \"{}\" }}\npermissions = {permissions}\n",
            files[1].display()
        )
    };
    let grid = format!(
        "[query.tokens.grid]\ntoken = {{ file = \"{}\" }}\npermissions = [\"operate\"]\n",
        files[2].display()
    );
    configure(&daemon, &(opa("[\"ask\"]") + &grid));
    daemon.resume();
    daemon.wait_ready();
    let statuses = |token: &str| ROUTES.map(|(method, path)| over_tcp(port, token, method, path));
    assert_eq!(statuses("t0p-s3cret"), [200, 200, 200, 202]);
    assert_eq!(statuses("0pa-s3cret"), [200, 403, 403, 403]);
    assert_eq!(statuses("gr1d-x"), [403, 403, 403, 202]);
    assert_eq!(statuses("gu3ssed"), [401; 4]);
    let syncs = acts(&daemon, "directory_sync.sync");
    let by: Vec<&Value> = syncs.iter().map(|entry| &entry["actor"]["name"]).collect();
    assert_eq!(by[by.len() - 2..], ["query.token", "query.tokens.grid"]);

    let reload = |daemon: &Daemon, tokens: &str| {
        let before = acts(daemon, "config.reload").len();
        configure(daemon, tokens);
        daemon.signal(Signal::HUP);
        wait_until("the reload", PATIENCE, || {
            let all = acts(daemon, "config.reload");
            if all.len() > before { Ok(()) } else { Err(daemon.log()) }
        });
    };
    reload(&daemon, &opa("[\"list\", \"watch\"]"));
    assert_eq!(statuses("0pa-s3cret"), [403, 200, 200, 403]);
    assert_eq!(statuses("gr1d-x"), [401; 4], "it is gone");
    // Another content of the same file is another token.
    write_private(&files[1], "an0ther-0pa");
    reload(&daemon, &opa("[\"list\", \"watch\"]"));
    assert_eq!(statuses("0pa-s3cret"), [401; 4]);
    assert_eq!(statuses("an0ther-0pa"), [403, 200, 200, 403]);

    let denied = metric(&daemon, "rosterd_access_denied_total{via=\"tcp\",reason=\"permission\"");
    assert_eq!(denied, 3 + 3 + 2 + 2);
    let tokens = metric(&daemon, "rosterd_access_denied_total{via=\"tcp\",reason=\"token\"");
    assert_eq!(tokens, 12);
    daemon.stop(PATIENCE);
    daemon.resume();
    let denied = acts(&daemon, "access.denied");
    let of = |name: &str| denied.iter().any(|entry| entry["actor"]["name"] == name);
    assert!(of("query.tokens.opa") && of("query.tokens.grid") && !of("query.token"), "{denied:?}");
    let told = acts(&daemon, "*").iter().map(Value::to_string).collect::<String>() + &daemon.log();
    for secret in ["s3cret", "gr1d-x", "gu3ssed", "an0ther"] {
        assert!(!told.contains(secret), "{secret} was told");
    }
}
