//! The real process, with a state directory, a socket and a log of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rosterd::clock::Timestamp;
use rustix::process::Signal;
use serde_json::Value;

use super::http::{self, Message};
use super::process::Process;

/// The program under test.
pub const ROSTERD: &str = env!("CARGO_BIN_EXE_rosterd");

const PATIENCE: Duration = Duration::from_secs(60);

/// A configuration, and the process that runs with it; killed when dropped.
#[derive(Debug)]
pub struct Daemon {
    dir: tempfile::TempDir,
    environment: Vec<(String, String)>,
    wrapper: Vec<String>,
    log: PathBuf,
    process: Option<Process>,
}

impl Daemon {
    /// Starts `rosterd run` with `config`, to which state directory and socket
    /// are added; returns when the socket answers.
    pub fn start(config: &str) -> Daemon {
        let mut daemon = Daemon::prepare(config);
        daemon.resume();
        daemon
    }

    /// The same, not yet started.
    pub fn prepare(config: &str) -> Daemon {
        let dir = super::scratch("run");
        let daemon = Daemon {
            log: log_file(),
            dir,
            environment: Vec::new(),
            wrapper: Vec::new(),
            process: None,
        };
        daemon.configure(config);
        daemon
    }

    /// One more variable for the process, from its next start on.
    pub fn environment(&mut self, name: &str, value: impl Into<String>) {
        self.environment.push((name.to_owned(), value.into()));
    }

    /// A command that becomes the process, from its next start on: it ends by
    /// executing its last arguments.
    pub fn wrap<W: Into<String>>(&mut self, words: impl IntoIterator<Item = W>) {
        self.wrapper = words.into_iter().map(Into::into).collect();
    }

    /// Replaces the configuration file; a running process is not told.
    pub fn configure(&self, config: &str) {
        let (state, socket) = (self.state(), self.socket());
        let head = format!(
            "state_dir = \"{}\"\nquery.socket = \"{}\"\n",
            state.display(),
            socket.display()
        );
        super::write(self.config(), head + config);
    }

    /// Starts the process and waits until the socket answers.
    pub fn resume(&mut self) {
        let mut process = self.spawn();
        super::wait_until("rosterd to answer", PATIENCE, || {
            if let Some(status) = process.ended() {
                panic!("rosterd ended with {status}:\n{}", self.log());
            }
            http::request(&self.socket(), "GET", "/healthz", None)
        });
        self.process = Some(process);
    }

    /// Starts the process only, which may end by itself.
    pub fn spawn(&self) -> Process {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(&self.log);
        let log = log.expect("a log file");
        let mut words = self.wrapper.iter().map(String::as_str).chain([ROSTERD]);
        let program = words.next().expect("rosterd at least");
        Process::start(program, |command| {
            command
                .args(words)
                .args(["run", "--config"])
                .arg(self.config())
                .current_dir(self.dir());
            command.envs(self.environment.iter().cloned());
            command.stdout(log.try_clone().expect("a log file")).stderr(log);
        })
    }

    /// Waits until every directory has committed or was restored. First polls
    /// are spread over `min_delay`, which is long here, so they are asked for.
    pub fn wait_ready(&self) {
        for directory in self.get("/v1/directories")["directories"].as_array().expect("a list") {
            if directory["as_of"].is_null() {
                let name = directory["name"].as_str().expect("a name");
                self.post(&format!("/v1/directories/{name}/sync"), &Value::Null);
            }
        }
        super::wait_until("rosterd to be ready", PATIENCE, || {
            let answer = http::request(&self.socket(), "GET", "/readyz", None)
                .map_err(|e| format!("{e}\n{}", self.log()))?;
            if answer.status() == 200 { Ok(()) } else { Err(answer.text() + &self.log()) }
        });
        super::wait_until("the first crawls to end", PATIENCE, || {
            let all = self.get("/v1/directories");
            let busy = |directory: &&Value| directory["crawling"] == true;
            match all["directories"].as_array().and_then(|all| all.iter().find(busy)) {
                Some(directory) => Err(directory.to_string()),
                None => Ok(()),
            }
        });
    }

    /// Any request; panics only when there is no answer.
    pub fn request(&self, method: &str, path: &str, body: Option<&Value>) -> Message {
        http::request(&self.socket(), method, path, body)
            .unwrap_or_else(|e| panic!("{method} {path}: {e}\n{}", self.log()))
    }

    /// The JSON of a request that must succeed.
    pub fn get(&self, path: &str) -> Value {
        let answer = self.request("GET", path, None);
        assert_eq!(answer.status(), 200, "GET {path}: {}", answer.text());
        answer.json()
    }

    /// The same with POST.
    pub fn post(&self, path: &str, body: &Value) -> Value {
        let answer = self.request("POST", path, Some(body));
        assert!((200..300).contains(&answer.status()), "POST {path}: {}", answer.text());
        answer.json()
    }

    /// Every event after `seq`, in order.
    pub fn events(&self, after: u64) -> Vec<Value> {
        let mut events: Vec<Value> = Vec::new();
        loop {
            let after = events.last().map_or(after, |event| event["seq"].as_u64().unwrap_or(0));
            let page = self.get(&format!("/v1/events?after={after}&limit=1000"));
            match page["events"].as_array() {
                Some(page) if !page.is_empty() => events.extend_from_slice(page),
                _ => return events,
            }
        }
    }

    /// What `/v1/directories/NAME` says.
    pub fn directory(&self, name: &str) -> Value {
        self.get(&format!("/v1/directories/{name}"))
    }

    /// Polls now, and waits until a poll that began after this call has ended,
    /// well or badly.
    pub fn sync(&self, name: &str) -> Value {
        let asked = rosterd::clock::now();
        self.post(&format!("/v1/directories/{name}/sync"), &Value::Null);
        super::wait_until(&format!("a poll of {name}"), PATIENCE, || {
            let status = self.directory(name);
            let began = status["last_attempt"].as_str().unwrap_or_default();
            let began = Timestamp::parse(began).unwrap_or_default();
            let ended = began >= asked && status["crawling"] == false;
            if ended { Ok(status) } else { Err(status.to_string()) }
        })
    }

    /// The same, for a poll that must go well: the events it led to.
    pub fn sync_events(&self, name: &str) -> Vec<Value> {
        let before = self.last_seq();
        let status = self.sync(name);
        assert_eq!(status["consecutive_failures"], 0, "{status}\n{}", self.log());
        self.events(before)
    }

    /// The seq of the last event.
    pub fn last_seq(&self) -> u64 {
        self.get("/v1/directories")["seq"].as_u64().expect("every answer has seq")
    }

    /// Runs one of the other commands against the socket.
    pub fn command(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(ROSTERD);
        command.arg("--socket").arg(self.socket()).args(arguments).current_dir(self.dir());
        command.output().expect("rosterd starts")
    }

    pub fn signal(&self, signal: Signal) {
        self.process.as_ref().expect("it runs").signal(signal);
    }

    pub fn pid(&self) -> rustix::process::Pid {
        self.process.as_ref().expect("it runs").pid()
    }

    /// SIGTERM; panics when it has not stopped within `patience`.
    pub fn stop(&mut self, patience: Duration) -> ExitStatus {
        self.process.take().expect("it runs").stop(patience)
    }

    pub fn kill9(&mut self) {
        self.process.take().expect("it runs").kill9();
    }

    /// Everything printed so far, by every start of this daemon.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Where it runs; room for files of the test.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn state(&self) -> PathBuf {
        self.dir().join("state")
    }

    pub fn socket(&self) -> PathBuf {
        self.dir().join("query.sock")
    }

    pub fn config(&self) -> PathBuf {
        self.dir().join("rosterd.toml")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.process = None;
        if !std::thread::panicking() {
            let (log, secrets) = (self.log(), super::secrets::all());
            let shown =
                secrets.iter().find(|secret| log.contains(secret.trim_start_matches("whsec_")));
            assert!(shown.is_none(), "a secret stands in {}", self.log.display());
        }
    }
}

/// Kept after the test, for the search for secrets.
fn log_file() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let logs = super::artifacts().join("logs");
    std::fs::create_dir_all(&logs).expect("a directory for logs");
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let test = std::thread::current().name().unwrap_or("test").replace("::", "-");
    logs.join(format!("{}-{number}-{test}.log", std::process::id()))
}
