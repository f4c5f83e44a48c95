//! `emulate`, somebody else's stub of several vendors' APIs, as a second
//! opinion: what a provider makes of it does not depend on what its author
//! believes about the vendor.

use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use super::process::Process;
use super::{clients, free_port, scratch, wait_until, write};

/// A running emulator of one service.
#[derive(Debug)]
pub struct Emulator {
    process: Process,
    port: u16,
    folder: TempDir,
}

impl Emulator {
    /// Starts the emulator of `service` (`github`, `okta`) with a world in
    /// JSON: `{"tokens": {"TOKEN": {"login": "admin", "scopes": []}}, "github": {…}}`.
    pub fn start(service: &str, seed: &serde_json::Value) -> Emulator {
        let folder = scratch("emulate");
        let file = write(folder.path().join("seed.json"), seed.to_string());
        let script = clients::node_script("emulate/dist/index.js");
        let port = free_port();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let process = Process::start("node", |command| {
            command.arg(script).args(["start", "--service", service]);
            command.args(["--port", &port.to_string(), "--seed"]).arg(file);
            command.current_dir(folder.path());
            command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        });
        let mut emulator = Emulator { process, port, folder };
        emulator.wait();
        emulator
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn wait(&mut self) {
        let log = self.folder.path().join("log");
        let port = self.port;
        let process = &mut self.process;
        wait_until("the emulator", Duration::from_secs(60), || {
            if let Some(status) = process.ended() {
                panic!("it ended with {status}:\n{}", std::fs::read_to_string(&log).unwrap());
            }
            std::net::TcpStream::connect(("127.0.0.1", port)).map(drop)
        });
    }
}

#[tokio::test]
async fn it_serves_the_world_that_it_is_given() {
    let _installed = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let github = Emulator::start(
        "github",
        &json!({
            "tokens": { "tests": { "login": "mona", "scopes": ["admin:org"] } },
            "github": {
                "users": [{ "login": "mona", "name": "Mona" }],
                "orgs": [{ "login": "acme", "members": [{ "login": "mona", "role": "admin" }] }]
            }
        }),
    );
    let okta =
        Emulator::start("okta", &json!({ "okta": { "users": [{ "login": "a@acme.com" }] } }));
    for (url, authorization, part) in [
        (github.url() + "/orgs/acme/members", "Bearer tests", "\"login\":\"mona\""),
        (okta.url() + "/api/v1/users", "SSWS tests", "\"login\":\"a@acme.com\""),
    ] {
        let request = client.get(&url).header("authorization", authorization);
        let text = request.send().await.unwrap().text().await.unwrap();
        assert!(text.contains(part), "{url}: {text}");
    }
}
