//! `emulate`, somebody else's stub of several vendors' APIs, as a second
//! opinion: what a provider makes of it does not depend on what its author
//! believes about the vendor.

use std::process::Stdio;
use std::time::Duration;

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
