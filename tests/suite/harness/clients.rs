//! The vendors' own clients, in Python and JavaScript, as `tests/run` installs
//! them: they say whether a stub is like the vendor.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use super::process::Process;

const PATIENCE: Duration = Duration::from_secs(120);

/// Runs `tests/clients/SCRIPT` (`.py` or `.mjs`) with these arguments and this
/// standard input, in no environment but what a proxy-less client needs. What
/// it printed, as JSON; a panic with its complaints when it fails.
pub fn run(script: &str, arguments: &[&str], input: &str) -> Value {
    let text = run_text(script, arguments, input);
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{script} printed no JSON: {e}\n{text}"))
}

/// The same for a script that prints something else.
pub fn run_text(script: &str, arguments: &[&str], input: &str) -> String {
    run_within(PATIENCE, script, arguments, input)
}

/// The same for one that may take longer.
pub fn run_within(patience: Duration, script: &str, arguments: &[&str], input: &str) -> String {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(script);
    let (program, file) = match source.extension().and_then(|extension| extension.to_str()) {
        Some("py") => (python(), source),
        Some("mjs") => (PathBuf::from("node"), beside_modules(&source)),
        _ => panic!("{script} is neither .py nor .mjs"),
    };
    let program = program.to_str().expect("a path in UTF-8");
    let mut process = Process::start(program, |command| {
        command.arg(file).args(arguments);
        for proxy in ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
            command.env_remove(proxy);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    });
    let child = process.child();
    let mut stdin = child.stdin.take().expect("a pipe");
    let output = drain(child.stdout.take().expect("a pipe"));
    let complaints = drain(child.stderr.take().expect("a pipe"));
    let input = input.to_owned();
    // A script that does not read its input closes the pipe.
    std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let status = process.wait(patience);
    let (output, complaints) = (output.join().unwrap(), complaints.join().unwrap());
    assert!(status.success(), "{script} ended with {status}:\n{output}{complaints}");
    output
}

/// A command of a package of npm.
pub fn node_script(path: &str) -> PathBuf {
    there(home().join("node_modules").join(path))
}

/// A command of a package of PyPI.
pub fn python_command(name: &str) -> PathBuf {
    there(home().join("venv/bin").join(name))
}

fn python() -> PathBuf {
    python_command("python")
}

/// Scripts find their packages beside or above themselves.
fn beside_modules(source: &Path) -> PathBuf {
    node_script("");
    let folder = home().join("scripts");
    std::fs::create_dir_all(&folder).unwrap();
    let name = source.file_name().expect("a file").to_string_lossy();
    let (draft, target) =
        (folder.join(format!("{name}.{}", fastrand::u64(..))), folder.join(&*name));
    std::fs::copy(source, &draft).unwrap_or_else(|e| panic!("{}: {e}", source.display()));
    // Other tests may be running it.
    std::fs::rename(&draft, &target).unwrap();
    target
}

fn there(path: PathBuf) -> PathBuf {
    assert!(path.exists(), "{} is missing: `tests/run` installs it", path.display());
    path
}

fn home() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tests")
}

fn drain(mut pipe: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _cut_off = pipe.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
