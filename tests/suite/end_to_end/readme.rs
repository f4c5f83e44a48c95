//! What the README shows is what happens: its webhook receiver runs, and takes
//! what the daemon sends and nothing else.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use super::bundle;
use crate::harness::daemon::Daemon;
use crate::harness::process::Process;
use crate::harness::{free_port, http, secrets, wait_until, write, write_private};

const README: &str = include_str!("../../../README.md");
const PATIENCE: Duration = Duration::from_secs(30);

/// The one block of this language.
fn block(language: &str) -> &'static str {
    let mut blocks = README.split(&format!("```{language}\n")).skip(1);
    let block = blocks.next().unwrap_or_else(|| panic!("no {language} in the README"));
    assert!(blocks.next().is_none(), "more than one block of {language}");
    block.split("```").next().unwrap_or_default()
}

#[test]
fn the_two_commands_stand_in_it() {
    assert!(README.contains("cargo run --release -- run --config config.example.toml"));
    assert!(README.contains("tests/run"));
}

#[test]
fn the_webhook_receiver_of_the_readme_takes_what_is_genuine_only() {
    let (port, secret) = (free_port(), secrets::webhook());
    let mut daemon = Daemon::prepare("");
    let program = write(daemon.dir().join("receiver.py"), block("python"));
    let mut receiver = Process::start("python3", |command| {
        command.arg(program).arg(port.to_string()).env("ROSTERD_SECRET", &secret);
        command.stdout(Stdio::piped());
    });
    wait_until("the receiver to listen", PATIENCE, || {
        assert!(receiver.ended().is_none(), "it ended by itself");
        TcpStream::connect((Ipv4Addr::LOCALHOST, port))
    });
    let file = write_private(daemon.dir().join("secret"), &secret);
    daemon.configure(&format!(
        "{}[webhook.audit]\nurl = \"http://127.0.0.1:{port}/\"\nsecret = {{ file = \"{}\" }}\n\
         allow_private = true\n",
        bundle(&daemon, "corp"),
        file.display()
    ));
    daemon.resume();
    daemon.wait_ready();
    let expected: Vec<String> = daemon
        .events(0)
        .iter()
        .map(|event| format!("{} {}", event["seq"], event["type"].as_str().unwrap()))
        .collect();
    let printed = BufReader::new(receiver.child().stdout.take().unwrap());
    let printed: Vec<String> = printed.lines().take(expected.len()).map(Result::unwrap).collect();
    assert_eq!(printed, expected);
    assert_eq!(post_unsigned(port), 401);
}

fn post_unsigned(port: u16) -> u16 {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    let at = rosterd::clock::now().0 / 1000;
    write!(
        stream,
        "POST / HTTP/1.1\r\nwebhook-id: evt_1\r\nwebhook-timestamp: {at}\r\nwebhook-signature: \
         v1,bm8=\r\ncontent-length: 4\r\n\r\nnull"
    )
    .unwrap();
    http::read(&mut BufReader::new(stream)).map_or(0, |answer| answer.status())
}

/// The answer that the README shows has the fields of a real one.
#[test]
fn the_answer_to_a_check_looks_as_shown() {
    let mut daemon = Daemon::prepare("");
    daemon.configure(&bundle(&daemon, "corp"));
    daemon.resume();
    daemon.wait_ready();
    let real = daemon.get("/v1/check?user=ada&group=crew");
    let shown = README.lines().find(|line| line.starts_with("{\"member\":")).expect("an answer");
    let shown: Value = serde_json::from_str(shown).expect("JSON");
    let fields = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(fields(&shown), fields(&real));
}
