//! The real Envoy with the configuration of `docs/envoy`, asking over gRPC and
//! over HTTP on the unix socket.

use std::io::{BufReader, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use crate::harness::daemon::Daemon;
use crate::harness::http::{self, Message};
use crate::harness::process::{Process, run};
use crate::harness::{clients, free_port, wait_until, write};

const ENVOY: &str = include_str!("../../../docs/envoy/envoy.yaml");
const POLICIES: &str = include_str!("../../../docs/envoy/rosterd.toml");
const PATIENCE: Duration = Duration::from_secs(60);

/// Envoy in front of a daemon that knows the example directory.
struct Front {
    daemon: Daemon,
    /// Asks over gRPC.
    grpc: u16,
    /// Asks over HTTP.
    http: u16,
    envoy: Process,
}

impl Front {
    fn start() -> Front {
        let mut daemon = Daemon::prepare("");
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        run(Command::new("cp").arg("-r").arg(here.join("fixtures/acme")).arg(daemon.dir()));
        daemon.configure(&configuration("15m"));
        daemon.resume();
        daemon.wait_ready();
        let (grpc, http) = (free_port(), free_port());
        let socket = daemon.socket();
        let config = once(ENVOY, "port_value: 10000", &format!("port_value: {grpc}"));
        let config = once(&config, "port_value: 10001", &format!("port_value: {http}"));
        let config = once(&config, "/run/rosterd/query.sock", socket.to_str().unwrap());
        let file = write(daemon.dir().join("envoy.yaml"), config);
        let log = std::fs::File::create(daemon.dir().join("access.log")).unwrap();
        let program = clients::python_command("envoy");
        let mut envoy = Process::start(program.to_str().unwrap(), |command| {
            command.args(["--disable-hot-restart", "--concurrency", "1", "--log-level", "error"]);
            command.args(["--file-flush-interval-msec", "50"]);
            command.arg("-c").arg(file).stdout(log).stderr(Stdio::null());
        });
        for port in [grpc, http] {
            wait_until("envoy to listen", PATIENCE, || {
                assert!(envoy.ended().is_none(), "envoy ended by itself");
                TcpStream::connect((Ipv4Addr::LOCALHOST, port))
            });
        }
        Front { daemon, grpc, http, envoy }
    }

    /// What the client is answered, for these headers.
    fn ask(&self, port: u16, path: &str, headers: &[(&str, &str)]) -> Message {
        let headers: String =
            headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let request = format!("GET {path} HTTP/1.1\r\nhost: app.example\r\n{headers}\r\n");
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        http::read(&mut BufReader::new(stream)).unwrap()
    }

    fn status(&self, port: u16, path: &str, user: &str) -> u16 {
        self.ask(port, path, &[("x-auth-user", user)]).status()
    }

    fn wait_for(&self, what: &str, status: u16) {
        for port in [self.grpc, self.http] {
            wait_until(what, PATIENCE, || match self.status(port, "/", "ptanaka") {
                got if got == status => Ok(()),
                other => Err(format!("{other}\n{}", self.daemon.log())),
            });
        }
    }

    /// Envoy's own log of the gRPC side knows why somebody was denied.
    fn wait_for_reasons(&self, reasons: &[&str]) {
        wait_until("the access log", PATIENCE, || {
            let log = std::fs::read_to_string(self.daemon.dir().join("access.log")).unwrap();
            match reasons.iter().find(|reason| !log.contains(&format!("403 {reason}"))) {
                Some(missing) => Err(format!("no {missing} in\n{log}")),
                None => Ok(()),
            }
        });
    }

    fn reload(&self, max_age: &str) {
        self.daemon.configure(&configuration(max_age));
        self.daemon.signal(Signal::HUP);
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.envoy.stop(PATIENCE);
    }
}

fn configuration(max_age: &str) -> String {
    let policies = POLICIES.replace("max_age = \"15m\"", &format!("max_age = \"{max_age}\""));
    format!(
        "[directory.acme]\npoll = {{ min_delay = \"1h\", max_delay = \"1h\" }}\n\
         provider.bundle = {{ path = \"acme\" }}\n{policies}"
    )
}

fn once(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "`{from}` is not in docs/envoy/envoy.yaml");
    text.replace(from, to)
}

#[test]
fn the_real_envoy_lets_members_through_and_nobody_else() {
    let front = Front::start();
    let (grpc, http) = (front.grpc, front.http);
    front.wait_for("a member to be let through", 200);
    for port in [grpc, http] {
        // Of engineering's platform: nested twice. The client cannot say who it is.
        let spoofed = [("x-auth-user", "ptanaka"), ("x-rosterd-user", "u-1001")];
        let answer = front.ask(port, "/", &spoofed);
        assert_eq!((answer.status(), answer.text().as_str()), (200, "welcome\n"));
        assert_eq!(answer.header("x-seen-user"), Some("u-1004"));
        assert_eq!(front.status(port, "/", "ptanaka@acme.example"), 200);
        assert_eq!(front.status(port, "/%ff/%2e%2e/x?user=1&policy=2", "u-1004"), 200);
        // Disabled, unknown, none, several.
        for headers in [
            &[("x-auth-user", "tjones")][..],
            &[("x-auth-user", "nobody")],
            &[("x-auth-user", "")],
            &[],
            &[("x-auth-user", "ptanaka"), ("x-auth-user", "ptanaka")],
            &[("x-auth-user", "ptanaka,mlind")],
            &[("x-auth-user", "\u{7f51}")],
        ] {
            let answer = front.ask(port, "/", headers);
            assert_eq!(answer.status(), 403, "{headers:?}");
            assert_eq!(answer.json()["detail"], "access denied", "{headers:?} {answer:?}");
            assert!(!answer.text().contains("reason"), "{}", answer.text());
            let own = answer.headers.iter().find(|(name, _)| name.starts_with("x-rosterd"));
            assert_eq!(own, None);
        }
    }
    // Another policy on another route; a client's headers and path change nothing.
    assert_eq!(front.status(grpc, "/production", "dnovak"), 200);
    for path in ["/production", "/production/x", "/x/../production", "/production?policy=staff"] {
        assert_eq!(front.status(grpc, path, "hcosta"), 403, "{path}");
    }
    let chosen = [("x-auth-user", "hcosta"), ("policy", "staff"), ("x-policy", "staff")];
    assert_eq!(front.ask(grpc, "/production", &chosen).status(), 403);
    assert_eq!(front.ask(grpc, "/health", &[]).status(), 200);
    front.wait_for_reasons(&["not-member", "unknown-user", "no-user", "several-users", "inactive"]);
}

#[test]
fn the_real_envoy_lets_nobody_through_on_old_knowledge_or_none() {
    let mut front = Front::start();
    front.wait_for("a member to be let through", 200);
    // The provider cannot be read any more, and time goes by.
    let (there, away) = (front.daemon.dir().join("acme"), front.daemon.dir().join("away"));
    std::fs::rename(&there, &away).unwrap();
    front.reload("1s");
    assert_ne!(front.daemon.sync("acme")["consecutive_failures"], 0);
    front.wait_for("stale knowledge to be refused", 403);
    front.wait_for_reasons(&["stale"]);
    std::fs::rename(&away, &there).unwrap();
    front.reload("15m");
    front.daemon.sync("acme");
    front.wait_for("a member to be let through again", 200);
    // Without a policy, and without a daemon.
    front.daemon.configure(&configuration("15m").replace("ext_authz.staff", "ext_authz.other"));
    front.daemon.signal(Signal::HUP);
    front.wait_for("requests without a policy to be refused", 403);
    front.reload("15m");
    front.wait_for("a member to be let through with the policy", 200);
    front.daemon.stop(PATIENCE);
    for port in [front.grpc, front.http] {
        assert_eq!(front.status(port, "/", "ptanaka"), 403);
    }
    front.daemon.resume();
    front.wait_for("a member to be let through after the restart", 200);
}
