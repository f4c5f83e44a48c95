//! The daemon against its own description: every request that the document
//! allows and many that it does not, over TCP, by schemathesis.

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::harness::clients;
use crate::harness::daemon::Daemon;
use crate::harness::{free_port, wait_until, write, write_private};

const TOKEN: &str = "0penapi-t0ken";
const SECRET: &str = "whsec_c2VjcmV0LXR3by1pcy1sb25nLWVub3VnaC1ieS1ub3c=";
const PATIENCE: Duration = Duration::from_secs(60);
/// On a machine that does nothing else it takes a fraction of that.
const RUN: Duration = Duration::from_secs(600);

/// The fixture with a hold, a webhook that nobody answers, and a port.
struct Described {
    daemon: Daemon,
    url: String,
    hold: String,
}

fn described() -> Described {
    let mut daemon = Daemon::prepare("");
    let (port, dead) = (free_port(), free_port());
    let acme = daemon.dir().join("acme");
    copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/acme").as_path(), &acme);
    let token = write_private(daemon.dir().join("token"), TOKEN);
    let secret = write_private(daemon.dir().join("secret"), SECRET);
    daemon.configure(&format!(
        "query.listen = \"127.0.0.1:{port}\"\nquery.token = {{ file = \"{}\" }}\n\
         [directory.acme]\npoll = {{ min_delay = \"1h\", max_delay = \"1h\" }}\n\
         provider.bundle = {{ path = \"{}\" }}\n\
         [webhook.hook]\nurl = \"http://127.0.0.1:{dead}/\"\nallow_private = true\n\
         log_deliveries = true\nsecret = {{ file = \"{}\" }}\n",
        token.display(),
        acme.display(),
        secret.display()
    ));
    daemon.resume();
    daemon.wait_ready();
    let hold = hold_half(&daemon, &acme);
    Described { daemon, url: format!("http://127.0.0.1:{port}"), hold }
}

/// Half of the users are gone, which the guard holds for a person.
fn hold_half(daemon: &Daemon, acme: &Path) -> String {
    let users = std::fs::read_to_string(acme.join("users.csv")).unwrap();
    let lines: Vec<&str> = users.lines().collect();
    write(acme.join("users.csv"), lines[..lines.len() / 2].join("\n") + "\n");
    daemon.post("/v1/directories/acme/sync", &json!(null));
    wait_until("the guard to hold", PATIENCE, || {
        let directory = daemon.get("/v1/directories/acme");
        let id = directory["hold"]["id"].as_str().map(str::to_owned);
        id.ok_or_else(|| directory.to_string())
    })
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[test]
fn the_daemon_does_what_its_description_says() {
    let described = described();
    let arguments = [described.url.as_str(), TOKEN, &described.hold];
    let outcome = clients::run_within(RUN, "openapi.py", &arguments, "");
    let outcome: serde_json::Value = serde_json::from_str(&outcome).expect("JSON");
    assert_eq!(outcome["tested"], outcome["operations"], "{outcome}");
    let requests = outcome["requests"].as_u64().unwrap();
    assert!(requests > 1_000, "{outcome}");
    let health = described.daemon.request("GET", "/healthz", None);
    assert_eq!(health.status(), 200, "it is there after all that");
}
