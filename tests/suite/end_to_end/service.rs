//! The daemon as a service: signals, what it tells systemd, credentials, and
//! the socket it inherits.

use std::io::Write;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use super::{bundle, openldap};
use crate::harness::daemon::{Daemon, ROSTERD};
use crate::harness::process::Process;
use crate::harness::receiver::{Answer, Receiver};
use crate::harness::slapd::{Options, Slapd};
use crate::harness::{http, wait_until, write_private};

const PATIENCE: Duration = Duration::from_secs(30);
/// What the service promises; also with work at hand.
const STOP: Duration = Duration::from_secs(5);

fn seals(daemon: &Daemon, name: &str) -> u64 {
    daemon.directory(name)["crawls_sealed"].as_u64().expect("a count")
}

#[test]
fn sigterm_stops_within_five_seconds_whatever_is_under_way() {
    let (slapd, receiver) = (Slapd::start(Options::default()), Receiver::start());
    receiver.answer(|_| Answer::Silence);
    let mut daemon = Daemon::prepare("");
    let secret = write_private(daemon.dir().join("secret"), receiver.secret());
    daemon.configure(&format!(
        "{}[webhook.w]\nurl = \"{}\"\nsecret = {{ file = \"{}\" }}\nallow_private = true\n",
        openldap("corp", &slapd),
        receiver.url(),
        secret.display()
    ));
    daemon.resume();
    daemon.wait_ready();
    wait_until("a delivery under way", PATIENCE, || {
        if receiver.attempts() > 0 { Ok(()) } else { Err("none yet") }
    });
    let mut stream = http::event_stream(&daemon.socket(), "/v1/events?after=0").unwrap();
    assert_eq!(stream.next().unwrap()["seq"], 1);
    let mut half = UnixStream::connect(daemon.socket()).unwrap();
    half.write_all(b"GET /v1/users HTTP/1.1\r\n").unwrap();
    slapd.freeze();
    daemon.post("/v1/directories/corp/sync", &Value::Null);

    let status = daemon.stop(STOP);
    assert!(status.success(), "{status}\n{}", daemon.log());
    assert!(!daemon.socket().exists(), "its own socket is taken away");
}

#[test]
fn sighup_reloads_and_refuses_a_bad_file() {
    let mut daemon = Daemon::prepare("");
    let (one, two) = (bundle(&daemon, "one"), bundle(&daemon, "two"));
    daemon.configure(&one);
    daemon.resume();
    daemon.wait_ready();
    let untouched = daemon.directory("one")["last_attempt"].clone();

    daemon.configure(&format!("{one}{two}"));
    daemon.signal(Signal::HUP);
    wait_until("the second directory", PATIENCE, || {
        let answer = daemon.request("GET", "/v1/check?user=two%2Fada&group=two%2Fcrew", None);
        if answer.json()["member"] == true { Ok(()) } else { Err(answer.text()) }
    });
    assert_eq!(daemon.directory("one")["last_attempt"], untouched, "it kept running untouched");

    let before = daemon.log().len();
    daemon.configure(&format!("{one}{two}[directory.three]\nprovider.bundel = {{}}\n"));
    daemon.signal(Signal::HUP);
    wait_until("the refusal in the log", PATIENCE, || {
        let said = daemon.log().split_off(before);
        if said.contains("bundel") && said.contains("bundle") { Ok(()) } else { Err(said) }
    });
    assert_eq!(daemon.directory("two")["name"], "two");
    assert_eq!(daemon.request("GET", "/v1/directories/three", None).status(), 404);

    daemon.configure(&one);
    daemon.signal(Signal::HUP);
    wait_until("the second directory to go", PATIENCE, || {
        match daemon.request("GET", "/v1/directories/two", None).status() {
            404 => Ok(()),
            status => Err(status),
        }
    });
    let removed = daemon.events(0).into_iter().filter(|e| e["type"] == "directory.removed");
    assert_eq!(removed.count(), 1);
}

#[test]
fn sigusr1_polls_every_directory_now() {
    let mut daemon = Daemon::prepare("");
    daemon.configure(&(bundle(&daemon, "one") + &bundle(&daemon, "two")));
    daemon.resume();
    daemon.wait_ready();
    let before = (seals(&daemon, "one"), seals(&daemon, "two"));
    daemon.signal(Signal::USR1);
    wait_until("both to be polled", PATIENCE, || {
        let now = (seals(&daemon, "one"), seals(&daemon, "two"));
        if now.0 > before.0 && now.1 > before.1 { Ok(()) } else { Err(format!("{now:?}")) }
    });
}

#[test]
fn systemd_is_told_ready_alive_reloading_and_stopping() {
    let mut daemon = Daemon::prepare("");
    daemon.configure(&bundle(&daemon, "one"));
    let path = daemon.dir().join("notify");
    let inbox = UnixDatagram::bind(&path).unwrap();
    inbox.set_read_timeout(Some(PATIENCE)).unwrap();
    daemon.environment("NOTIFY_SOCKET", path.display().to_string());
    daemon.environment("WATCHDOG_USEC", "1000000");
    daemon.resume();
    let hear = |word: &str| {
        let mut buffer = [0; 4096];
        loop {
            let length = inbox.recv(&mut buffer).unwrap_or_else(|e| panic!("no {word}: {e}"));
            let said = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if said.lines().any(|line| line == word) {
                return;
            }
        }
    };
    hear("READY=1");
    hear("WATCHDOG=1");
    hear("WATCHDOG=1");
    daemon.signal(Signal::HUP);
    hear("RELOADING=1");
    hear("READY=1");
    daemon.signal(Signal::TERM);
    hear("STOPPING=1");
    daemon.stop(STOP);
}

#[test]
fn a_credential_of_systemd_is_used_and_never_shown() {
    let slapd = Slapd::start(Options::default());
    let mut daemon = Daemon::prepare("");
    let credentials = daemon.dir().join("credentials");
    std::fs::create_dir(&credentials).unwrap();
    write_private(credentials.join("corp-ldap"), slapd.poller().1);
    let file = slapd.password_file(slapd.poller());
    let config = openldap("corp", &slapd)
        .replace(&format!("file = \"{}\"", file.display()), "credential = \"corp-ldap\"");
    assert!(config.contains("credential ="), "{config}");
    daemon.configure(&config);
    daemon.environment("CREDENTIALS_DIRECTORY", credentials.display().to_string());
    daemon.environment("RUST_LOG", "trace");
    daemon.resume();
    daemon.wait_ready();
    assert_eq!(daemon.get("/v1/users")["total"], 20);
    assert!(!daemon.log().contains(slapd.poller().1));
    assert!(!daemon.directory("corp").to_string().contains(slapd.poller().1));
}

#[test]
fn the_socket_is_inherited_and_left_in_place() {
    let daemon = Daemon::prepare("");
    daemon.configure(&bundle(&daemon, "one"));
    let socket = daemon.socket();
    let mut activator = Process::start("systemd-socket-activate", |command| {
        command.arg("-l").arg(&socket).arg("--fdname=query").arg(ROSTERD);
        command.args(["run", "--config"]).arg(daemon.config()).current_dir(daemon.dir());
    });
    wait_until("the activator to listen", PATIENCE, || {
        if socket.exists() { Ok(()) } else { Err("no socket yet") }
    });
    // The first connection starts it, and is answered once it is up.
    assert_eq!(daemon.request("GET", "/healthz", None).status(), 200);
    daemon.wait_ready();
    assert_eq!(daemon.get("/v1/check?user=ada&group=crew")["member"], true);
    activator.signal(Signal::TERM);
    activator.wait(STOP);
    assert!(socket.exists(), "the socket is systemd's, not the daemon's");
}
