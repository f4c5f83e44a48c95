//! The README's main job: the example configuration on the example directory;
//! editing a file tells exactly what changed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::harness::daemon::ROSTERD;
use crate::harness::process::{Process, run};
use crate::harness::story::assert_story;
use crate::harness::{http, scratch, wait_until, write};

const PATIENCE: Duration = Duration::from_secs(60);

/// What a fresh clone has, without the source.
fn clone(dir: &Path) {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    for name in ["config.example.toml", "fixtures"] {
        run(Command::new("cp").arg("-r").arg(here.join(name)).arg(dir));
    }
}

fn socket(dir: &Path) -> PathBuf {
    let text = std::fs::read_to_string(dir.join("config.example.toml")).unwrap();
    let config: toml::Table = text.parse().unwrap();
    dir.join(config["query"]["socket"].as_str().unwrap())
}

fn events(socket: &Path, after: u64) -> Result<Vec<Value>, String> {
    let path = format!("/v1/events?after={after}&limit=1000");
    let page = http::request(socket, "GET", &path, None).map_err(|e| e.to_string())?.json();
    page["events"].as_array().cloned().ok_or(page.to_string())
}

/// Replaces text in a file the way an editor does: a new file, renamed over.
fn edit(file: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(file).unwrap();
    assert_eq!(text.matches(from).count(), 1, "`{from}` in {}", file.display());
    let fresh = write(file.with_extension("new"), text.replace(from, to));
    std::fs::rename(fresh, file).unwrap();
}

#[test]
fn the_example_runs_as_it_stands_and_tells_each_edit_exactly() {
    let dir = scratch("example");
    clone(dir.path());
    let log = dir.path().join("log");
    let output = std::fs::File::create(&log).unwrap();
    let mut rosterd = Process::start(ROSTERD, |command| {
        command.args(["run", "--config", "config.example.toml"]).current_dir(dir.path());
        command.stdout(output.try_clone().unwrap()).stderr(output);
    });
    let said = || std::fs::read_to_string(&log).unwrap();
    let socket = socket(dir.path());
    let first = wait_until("the first crawl", PATIENCE, || {
        assert!(rosterd.ended().is_none(), "{}", said());
        let told = events(&socket, 0)?;
        if told.iter().any(|e| e["type"] == "directory.synced") { Ok(told) } else { Err(said()) }
    });
    assert_eq!(first.iter().filter(|event| event["type"] == "user.created").count(), 26);
    assert_eq!(first.iter().filter(|event| event["type"] == "group.created").count(), 12);

    let mut seq = first.len() as u64;
    let mut told = |expected: &[&str]| {
        let fresh = wait_until("the edit to be told", PATIENCE, || {
            let fresh = events(&socket, seq)?;
            if fresh.is_empty() { Err(said()) } else { Ok(fresh) }
        });
        assert_story(&fresh, expected);
        seq += fresh.len() as u64;
    };
    let acme = dir.path().join("fixtures/acme");
    edit(&acme.join("users.csv"), "Database Engineer", "Database Administrator");
    told(&["user.updated eharris"]);
    edit(&acme.join("memberships.csv"), "g-oncall,u-1012,\n", "g-oncall,u-1008,\n");
    told(&["group.user_removed oncall smensah", "group.user_added oncall eharris"]);
    wait_until("the events to be printed", PATIENCE, || {
        if said().contains("group.user_added") { Ok(()) } else { Err(said()) }
    });

    let status = rosterd.stop(PATIENCE);
    assert!(status.success(), "{}", said());
}
