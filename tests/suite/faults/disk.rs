//! A full disk, and one that fails, below the store of the real process.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{
    Crew, PATIENCE, assert_last_good, assert_nothing_lost, check, crew, lines, wait_failing,
    wait_for_crew, wait_healthy,
};
use crate::harness::daemon::Daemon;
use crate::harness::process::run;
use crate::harness::wait_until;

/// A daemon whose state directory is a file system of 3 MiB, which only it sees.
fn on_a_tiny_disk(daemon: &mut Daemon) {
    std::fs::create_dir_all(daemon.state()).expect("a directory");
    // Without root a mount needs a user namespace too; a new one loses the
    // signal that ties the process to the tests.
    let is_root = rustix::process::geteuid().is_root();
    let unshare = if is_root { "-m" } else { "-rm" };
    let script = "mount -t tmpfs -o size=3m,mode=0700 tmpfs \"$0\" && \
                  exec setpriv --pdeathsig KILL \"$@\"";
    let state = daemon.state().display().to_string();
    daemon.wrap(["unshare", unshare, "sh", "-c", script, &state]);
}

/// The tiny disk, as seen from here.
fn disk_of(daemon: &Daemon) -> PathBuf {
    let root = PathBuf::from(format!("/proc/{}/root", daemon.pid().as_raw_pid()));
    root.join(daemon.state().strip_prefix("/").expect("an absolute path"))
}

/// Takes every byte that is left.
fn fill(disk: &Path) -> PathBuf {
    let path = disk.join("ballast");
    let mut ballast = std::fs::File::create(&path).expect("room for a name");
    for size in [64 << 10, 4 << 10, 1] {
        while ballast.write_all(&vec![b'x'; size]).is_ok() {}
    }
    path
}

/// While nothing can be written: the last good answers, an honest refusal where
/// the store would have to be read, and an error that says what and where.
fn assert_bears_it(daemon: &Daemon, reason: &str) {
    let status = wait_failing(daemon);
    let error = status["last_error"].as_str().expect("a failure has a reason");
    assert!(error.contains(reason), "{error}");
    assert!(error.contains(&daemon.state().display().to_string()), "{error}");
    assert!(error.contains("hint: "), "{error}");
    println!("{error}");
    assert_last_good(daemon, &status["as_of"]);
    assert_eq!(check(daemon, "").json()["member"], true);
    let stale = wait_until("an age of a second", PATIENCE, || {
        let answer = check(daemon, "&max_age=0s");
        if answer.status() == 503 { Ok(answer) } else { Err(answer.text()) }
    });
    assert_eq!(stale.json()["title"], "stale", "{}", stale.text());
    let events = daemon.request("GET", "/v1/events?after=0", None);
    assert!([200, 503].contains(&events.status()), "{}", events.text());
    assert!(!lines(daemon, &["WARN", "poll failed", reason]).is_empty(), "{}", daemon.log());
}

/// Names of files that say that the store was set aside.
fn set_aside(state: &Path) -> Vec<String> {
    let names = std::fs::read_dir(state).expect("readable");
    let names = names.map(|entry| entry.expect("readable").file_name().display().to_string());
    names.filter(|name| name.contains("damaged")).collect()
}

#[test]
fn a_full_disk_keeps_the_last_good_answers_until_there_is_room() {
    let mut daemon = Daemon::prepare("");
    on_a_tiny_disk(&mut daemon);
    let mut people = Crew::new(&daemon, 50);
    daemon.configure(&people.block());
    daemon.resume();
    daemon.wait_ready();
    for round in 0..3 {
        wait_healthy(&daemon);
        let ballast = fill(&disk_of(&daemon));
        // Files that are there already may have some room.
        wait_until("the room to be used up", PATIENCE, || {
            let more = people.names().len();
            people.join_all((more..more + 50).map(|number| format!("late{round}x{number}")));
            let status = daemon.directory("corp");
            if status["state"] == "failing" { Ok(()) } else { Err(status.to_string()) }
        });
        let known = crew(&daemon);
        assert_bears_it(&daemon, "No space left on device");
        assert_eq!(crew(&daemon), known);
        std::fs::remove_file(ballast).expect("it is there");
        wait_for_crew(&daemon, &people.names());
        wait_healthy(&daemon);
    }
    assert_eq!(set_aside(&disk_of(&daemon)), [] as [String; 0], "{}", daemon.log());
    assert_nothing_lost(&daemon);
}

#[test]
fn a_disk_that_is_full_at_the_start_is_an_error_that_says_so() {
    let mut daemon = Daemon::prepare("");
    on_a_tiny_disk(&mut daemon);
    let people = Crew::new(&daemon, 5);
    daemon.configure(&people.block());
    let script = "mount -t tmpfs -o size=64k,mode=0700 tmpfs \"$0\" && \
                  head -c 1m /dev/zero >\"$0/ballast\" 2>/dev/null; exec \"$@\"";
    let unshare = if rustix::process::geteuid().is_root() { "-m" } else { "-rm" };
    let state = daemon.state().display().to_string();
    daemon.wrap(["unshare", unshare, "sh", "-c", script, &state]);
    let mut process = daemon.spawn();
    let status = process.wait(PATIENCE);
    assert!(!status.success(), "{status}");
    let log = daemon.log();
    assert!(log.contains("No space left on device"), "{log}");
    assert!(log.contains(&state) && log.contains("hint: "), "{log}");
    on_a_tiny_disk(&mut daemon);
    daemon.resume();
    wait_for_crew(&daemon, &people.names());
}

const FIU: &str = "/usr/lib/fiu";

/// Makes system calls of the process fail by name, at run time.
struct Fiu<'a>(&'a Daemon);

impl Fiu<'_> {
    fn prepare(daemon: &mut Daemon) {
        let preload = format!("LD_PRELOAD={FIU}/fiu_run_preload.so {FIU}/fiu_posix_preload.so");
        assert!(Path::new(FIU).exists(), "libfiu is missing: `tests/run` installs it");
        let fifo = format!("FIU_CTRL_FIFO={}", daemon.dir().join("fiu").display());
        daemon.wrap(["env", &fifo, &preload]);
    }

    fn say(&self, words: &[&str]) {
        let fifo = self.0.dir().join("fiu");
        let pid = self.0.pid().as_raw_pid().to_string();
        let mut tool = Command::new("timeout");
        tool.args(["20", "fiu-ctrl", "-f"]).arg(fifo);
        for words in words {
            tool.args(["-c", words]);
        }
        run(tool.arg(&pid));
    }

    /// Every such call fails with EIO from now on.
    fn fail(&self, call: &str) {
        self.say(&[&format!("enable name=posix/io/{call},failinfo=5")]);
    }

    fn heal(&self, call: &str) {
        self.say(&[&format!("disable name=posix/io/{call}")]);
    }
}

#[test]
fn a_disk_that_fails_loses_nothing_and_the_store_comes_back() {
    let mut daemon = Daemon::prepare("");
    Fiu::prepare(&mut daemon);
    let mut people = Crew::new(&daemon, 50);
    daemon.configure(&people.block());
    daemon.resume();
    daemon.wait_ready();
    // Reads fail as well once it has to be opened again: then nothing may be
    // taken for damage.
    let rounds: [&[&str]; 4] =
        [&["rw/pwrite"], &["sync/fsync"], &["rw/pread", "rw/pwrite"], &["rw/pread", "sync/fsync"]];
    for (round, calls) in rounds.iter().enumerate() {
        let fiu = Fiu(&daemon);
        wait_healthy(&daemon);
        let known = crew(&daemon);
        calls.iter().for_each(|call| fiu.fail(call));
        people.join(&format!("late{round}"));
        assert_bears_it(&daemon, "Input/output error");
        assert_eq!(crew(&daemon), known, "{calls:?}\n{}", daemon.log());
        calls.iter().for_each(|call| fiu.heal(call));
        wait_for_crew(&daemon, &people.names());
        wait_healthy(&daemon);
        assert_eq!(set_aside(&daemon.state()), [] as [String; 0], "{calls:?}\n{}", daemon.log());
    }
    assert_nothing_lost(&daemon);
}

/// The engine below takes what it cannot read for the end of its log, and
/// overwrites it: one failed read would cost the journal.
#[test]
fn one_failed_read_while_the_store_is_opened_again_is_no_damage() {
    let mut daemon = Daemon::prepare("");
    Fiu::prepare(&mut daemon);
    let mut people = Crew::new(&daemon, 50);
    daemon.configure(&people.block());
    daemon.resume();
    daemon.wait_ready();
    for round in 0..3 {
        let fiu = Fiu(&daemon);
        wait_healthy(&daemon);
        fiu.fail("rw/pwrite");
        people.join(&format!("late{round}"));
        wait_failing(&daemon);
        let once = "enable name=posix/io/rw/pread,failinfo=5,onetime";
        fiu.say(&[once, "disable name=posix/io/rw/pwrite"]);
        wait_for_crew(&daemon, &people.names());
        wait_healthy(&daemon);
        assert_eq!(set_aside(&daemon.state()), [] as [String; 0], "{}", daemon.log());
    }
    assert_nothing_lost(&daemon);
}

#[test]
fn a_disk_that_fails_at_the_start_is_an_error_and_touches_nothing() {
    let mut daemon = Daemon::prepare("");
    let people = Crew::new(&daemon, 20);
    daemon.configure(&people.block());
    daemon.resume();
    daemon.wait_ready();
    let events = daemon.events(0);
    daemon.stop(PATIENCE);
    Fiu::prepare(&mut daemon);
    for call in ["rw/pread", "rw/pwrite", "sync/fsync"] {
        daemon.environment("FIU_ENABLE", format!("enable name=posix/io/{call},failinfo=5\n"));
        let status = daemon.spawn().wait(PATIENCE);
        assert!(!status.success(), "{call}: {status}");
        let last = daemon.log().lines().last().unwrap_or_default().to_owned();
        println!("{last}");
        assert!(daemon.log().contains("Input/output error"), "{call}: {}", daemon.log());
        assert_eq!(set_aside(&daemon.state()), [] as [String; 0], "{call}: {}", daemon.log());
    }
    daemon.environment("FIU_ENABLE", "");
    daemon.resume();
    assert_eq!(crew(&daemon), people.names());
    assert_eq!(daemon.events(0)[..events.len()], events[..]);
}
