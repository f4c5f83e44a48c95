//! The log of a crawl: what an earlier process finds, and what it does not.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::clock::{Duration, Timestamp};
use crate::store::checkpoint::sweep;
use crate::store::{Checkpoints, Log, Origin, Wanted};

const NOW: Timestamp = Timestamp(1_000_000_000);
const AT_ONCE: Duration = Duration::ZERO;
const NEVER: Duration = Duration::from_hours(10_000);

struct Place {
    dir: tempfile::TempDir,
    home: Checkpoints,
}

impl Place {
    fn new() -> Place {
        let dir = tempfile::tempdir().unwrap();
        let home = Checkpoints::new(dir.path(), "corp");
        Place { dir, home }
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("checkpoints").join("corp.crawl")
    }

    /// A log with two pages and a token, two more and another, and a page.
    fn write(&self, every: Duration) -> Log {
        let mut log = self.home.begin(&origin(), every);
        for (page, token) in [("a", None), ("b", Some("1")), ("c", None), ("d", Some("2"))] {
            log.page(page.as_bytes());
            if let Some(token) = token {
                log.checkpoint(token.into());
            }
        }
        log.page(b"e");
        log
    }

    /// Pages and token of what is found.
    fn read(&self) -> Option<(String, String)> {
        let mut saved = self.home.open(&wanted()).unwrap()?;
        let mut pages = String::new();
        let take = |page: &[u8]| {
            pages.push_str(std::str::from_utf8(page).unwrap());
            Ok(())
        };
        saved.pages(&self.home, take).unwrap();
        Some((pages, String::from_utf8(saved.token.clone()).unwrap()))
    }
}

fn found(pages: &str, token: &str) -> Option<(String, String)> {
    Some((pages.to_owned(), token.to_owned()))
}

fn origin() -> Origin {
    let (fingerprint, as_of) = ("f".to_owned(), Some(Timestamp(7)));
    Origin { fingerprint, full: true, caught_up: true, started: NOW, as_of }
}

fn wanted() -> Wanted {
    let Origin { fingerprint, as_of, .. } = origin();
    Wanted { fingerprint, as_of, now: NOW, max_age: Duration::from_hours(1) }
}

#[test]
fn a_log_goes_up_to_its_last_token() {
    let place = Place::new();
    assert_eq!(place.read(), None);
    drop(place.write(AT_ONCE));
    assert_eq!(place.read(), found("abcd", "2"));
    let mode = fs::metadata(place.file()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let saved = place.home.open(&wanted()).unwrap().unwrap();
    assert_eq!(saved.origin, origin());
}

#[test]
fn a_short_crawl_writes_nothing_until_it_is_told_to() {
    let place = Place::new();
    let mut log = place.write(NEVER);
    assert!(!place.file().exists());
    log.save();
    assert_eq!(place.read(), found("abcd", "2"));
}

#[test]
fn many_pages_do_not_wait_in_memory() {
    let place = Place::new();
    let mut log = place.home.begin(&origin(), NEVER);
    log.checkpoint(b"0".to_vec());
    let page = vec![b'x'; 3 << 20];
    for _ in 0..3 {
        log.page(&page);
    }
    // The token came before the pages, which are not to be believed yet.
    assert_eq!(place.read(), found("", "0"));
    assert!(fs::metadata(place.file()).unwrap().len() > 9 << 20);
    log.checkpoint(b"1".to_vec());
    log.save();
    let (pages, token) = place.read().unwrap();
    assert_eq!((pages.len(), token.as_str()), (9 << 20, "1"));
}

#[test]
fn going_on_writes_behind_the_token() {
    let place = Place::new();
    drop(place.write(AT_ONCE));
    let saved = place.home.open(&wanted()).unwrap().unwrap();
    let mut log = saved.resume(&place.home, AT_ONCE);
    log.page(b"f");
    assert_eq!(place.read(), found("abcd", "2"));
    log.checkpoint(b"3".to_vec());
    assert_eq!(place.read(), found("abcdf", "3"));
}

#[test]
fn a_torn_tail_is_cut_to_what_is_whole() {
    let place = Place::new();
    drop(place.write(AT_ONCE));
    let whole = fs::read(place.file()).unwrap();
    let mut read = Vec::new();
    for length in 0..whole.len() {
        fs::write(place.file(), &whole[..length]).unwrap();
        match place.home.open(&wanted()) {
            Ok(_) => read.extend(place.read()),
            Err(_) => assert!(!place.file().exists(), "what is of no use stays"),
        }
    }
    read.dedup();
    assert_eq!(read, [found("ab", "1").unwrap()], "cut at every byte");
    for tail in [vec![0; 100], vec![255; 100], whole[whole.len() - 20..].to_vec()] {
        fs::write(place.file(), [whole.as_slice(), &tail].concat()).unwrap();
        // A repeated token frame is believed; it says the same.
        assert_eq!(place.read(), found("abcd", "2"));
    }
}

#[test]
fn no_flipped_bit_is_believed() {
    let place = Place::new();
    drop(place.write(AT_ONCE));
    let whole = fs::read(place.file()).unwrap();
    for bit in 0..whole.len() * 8 {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        fs::write(place.file(), flipped).unwrap();
        if place.home.open(&wanted()).is_ok() {
            let read = place.read();
            assert!([found("abcd", "2"), found("ab", "1")].contains(&read), "bit {bit}: {read:?}");
        }
    }
}

#[test]
fn what_is_of_no_use_is_dropped_and_says_why() {
    let place = Place::new();
    let refused = |change: fn(&mut Wanted)| {
        drop(place.write(AT_ONCE));
        let mut wanted = wanted();
        change(&mut wanted);
        let reason = place.home.open(&wanted).unwrap_err().to_string();
        assert!(!place.file().exists(), "{reason}");
        reason
    };
    assert!(refused(|w| w.fingerprint = "g".into()).contains("settings"));
    assert!(refused(|w| w.as_of = None).contains("committed since"));
    assert!(refused(|w| w.now = Timestamp(NOW.0 - 1)).contains("future"));
    let too_late = NOW.plus(wanted().max_age);
    assert!(refused(|w| w.now = NOW.plus(w.max_age)).contains("too long ago"), "{too_late}");
    drop(place.write(AT_ONCE));
    fs::write(place.file(), "rosterd crawl 2\nwhatever").unwrap();
    let reason = place.home.open(&wanted()).unwrap_err().to_string();
    assert!(reason.contains("another version"), "{reason}");
}

#[test]
fn the_log_of_another_directory_is_not_taken() {
    let place = Place::new();
    drop(place.write(AT_ONCE));
    let other = Checkpoints::new(place.dir.path(), "other");
    fs::rename(place.file(), place.file().with_file_name("other.crawl")).unwrap();
    let reason = other.open(&wanted()).unwrap_err().to_string();
    assert!(reason.contains("of the directory corp"), "{reason}");
}

#[test]
fn going_on_in_vain_ends() {
    let place = Place::new();
    drop(place.write(AT_ONCE));
    let go_on =
        || place.home.open(&wanted()).map(|saved| saved.unwrap().resume(&place.home, NEVER));
    for _ in 0..4 {
        drop(go_on().unwrap());
    }
    let mut log = go_on().unwrap();
    log.checkpoint(b"3".to_vec());
    log.save();
    drop(log);
    for _ in 0..5 {
        drop(go_on().unwrap());
    }
    assert!(go_on().unwrap_err().to_string().contains("5 times in a row"));
}

#[test]
fn a_new_crawl_replaces_an_old_log() {
    let place = Place::new();
    drop(place.write(AT_ONCE));
    let log = place.home.begin(&origin(), NEVER);
    assert_eq!(place.read(), None);
    drop(log);
}

#[test]
fn a_log_that_cannot_be_written_ends() {
    let place = Place::new();
    // A file stands where the folder should be.
    fs::write(place.dir.path().join("checkpoints"), "").unwrap();
    let mut log = place.write(AT_ONCE);
    log.page(b"f");
    log.checkpoint(b"4".to_vec());
    log.save();
    fs::remove_file(place.dir.path().join("checkpoints")).unwrap();
    log.page(b"g");
    log.checkpoint(b"5".to_vec());
    assert_eq!(place.read(), None, "half a log was written");
}

#[test]
fn logs_of_unknown_directories_are_swept() {
    let place = Place::new();
    drop(place.write(AT_ONCE));
    sweep(place.dir.path(), |name| name == "corp");
    assert!(place.file().exists());
    sweep(place.dir.path(), |name| name == "other");
    assert!(!place.file().exists());
}
