//! The same questions through Open Policy Agent: a policy that asks the socket
//! by `http.send`, and one that has all memberships in OPA's own memory.
//!
//! OPA speaks over a unix socket of its own; what a decision costs there without
//! any membership is the floor.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::common::{self, Size};
use super::questions::{self, Naming};

const PATIENCE: Duration = Duration::from_secs(60);
const ROUNDS: u32 = 3;
const DECISIONS: u32 = 2_000;

/// Prints what decisions cost; `sockets` are asked by `http.send`.
pub fn run(program: &Path, size: Size, sockets: &[(&str, &Path)], folder: &Path) {
    let opa = Opa::start(program, sockets, folder);
    println!("OPA {} ({} decisions each)", opa.version(program), ROUNDS * DECISIONS);
    opa.measure("a decision without membership", |_| ("bench/nothing".to_owned(), String::new()));
    for (name, _) in sockets {
        opa.measure(&format!("http.send to {name}"), |n| {
            let (user, group) = questions::pair(size, n);
            let input =
                format!(r#"{{"path":"{}"}}"#, questions::check_path(user, group, Naming::Ids));
            (format!("bench/{}", name.replace(' ', "_")), input)
        });
    }
    let empty = opa.resident();
    let started = Instant::now();
    let bytes = opa.fill(size);
    println!(
        "  {} MB of memberships put in {:.1} s; OPA takes {} MB for them",
        bytes >> 20,
        started.elapsed().as_secs_f64(),
        opa.resident() - empty
    );
    opa.measure("memberships in OPA", |n| {
        let (user, group) = questions::pair(size, n);
        let (user, group) = (common::user_id(user), common::group_id(group));
        ("bench/inside".to_owned(), format!(r#"{{"user":"{user}","group":"{group}"}}"#))
    });
    println!();
}

struct Opa {
    process: Child,
    socket: PathBuf,
}

impl Opa {
    fn start(program: &Path, sockets: &[(&str, &Path)], folder: &Path) -> Opa {
        let (policy, socket) = (folder.join("bench.rego"), folder.join("opa.sock"));
        std::fs::write(&policy, rego(sockets)).expect("writes");
        let process = Command::new(program)
            .args(["run", "--server", "--disable-telemetry", "--log-level", "error"])
            // By default it takes 256 MiB in one request.
            .args(["--set", "server.decoding.max_length=4294967296", "--addr"])
            .arg(format!("unix://{}", socket.display()))
            .arg(policy)
            .stderr(Stdio::null())
            .spawn()
            .expect("OPA starts");
        let opa = Opa { process, socket };
        let started = Instant::now();
        while UnixStream::connect(&opa.socket).is_err() {
            assert!(started.elapsed() < PATIENCE, "OPA does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        opa
    }

    fn version(&self, program: &Path) -> String {
        let output = Command::new(program).arg("version").output().expect("OPA tells");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().next().unwrap_or_default().replace("Version: ", "")
    }

    /// Asks for decisions; `question` gives a rule's path and the input's JSON.
    fn measure(&self, what: &str, question: impl Fn(u32) -> (String, String)) {
        let mut stream = UnixStream::connect(&self.socket).expect("connects");
        let mut times = Vec::new();
        for n in 0..ROUNDS * DECISIONS {
            let (rule, input) = question(n);
            let body = match input.as_str() {
                "" => "{}".to_owned(),
                input => format!(r#"{{"input":{input}}}"#),
            };
            let request = questions::post(&format!("/v1/data/{rule}"), &body);
            let started = Instant::now();
            let answer = super::answer_of(&mut stream, &request);
            times.push(started.elapsed());
            let decided = answer.windows(9).any(|part| part == br#""result":"#);
            assert!(decided, "no decision: {}", String::from_utf8_lossy(&answer));
        }
        times.sort_unstable();
        let (p50, p99) = (times[times.len() / 2], times[times.len() * 99 / 100]);
        println!("  {what:<32} p50 {p50:>9.1?}  p99 {p99:>9.1?}");
    }

    /// Gives OPA `{user: {group: true}}`; how many bytes that was.
    fn fill(&self, size: Size) -> usize {
        let mut of = vec![Vec::new(); size.users as usize];
        for group in 0..size.groups {
            for user in common::members(size, group) {
                of[user as usize].push(group);
            }
        }
        let mut body = String::from("{");
        for (user, groups) in of.iter().enumerate() {
            let comma = if user == 0 { "" } else { "," };
            body.push_str(&format!("{comma}\"{}\":{{", common::user_id(user as u32)));
            for (at, group) in groups.iter().enumerate() {
                let comma = if at == 0 { "" } else { "," };
                body.push_str(&format!("{comma}\"{}\":true", common::group_id(*group)));
            }
            body.push('}');
        }
        body.push('}');
        let mut stream = UnixStream::connect(&self.socket).expect("connects");
        let head = format!(
            "PUT /v1/data/members HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).expect("writes");
        stream.write_all(body.as_bytes()).expect("writes");
        let mut status = [0; 12];
        std::io::Read::read_exact(&mut stream, &mut status).expect("reads");
        assert_eq!(&status, b"HTTP/1.1 204", "OPA takes them");
        body.len()
    }

    /// Megabytes.
    fn resident(&self) -> u64 {
        let status = format!("/proc/{}/status", self.process.id());
        let status = std::fs::read_to_string(status).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|kb| kb.parse::<u64>().ok()).unwrap_or(0) / 1024
    }
}

impl Drop for Opa {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn rego(sockets: &[(&str, &Path)]) -> String {
    let mut text = String::from(
        "package bench\n\nimport rego.v1\n\nnothing := true\n\ninside := object.get(data.members, [input.user, input.group], false)\n",
    );
    for (name, socket) in sockets {
        let rule = name.replace(' ', "_");
        let socket = socket.display().to_string().replace('/', "%2F");
        // The bare responder's answer is no JSON: only the status counts there.
        text.push_str(&format!(
            "\n{rule} := http.send({{\"method\": \"get\", \"url\": concat(\"\", [\"unix://localhost\", input.path, \"&socket={socket}\"])}}).status_code\n"
        ));
    }
    text
}
