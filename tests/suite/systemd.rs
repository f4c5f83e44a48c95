//! The unit files: systemd has nothing to say against them, and finds the
//! service well locked up. What the daemon tells systemd is tested elsewhere.

use std::path::Path;
use std::process::Command;

use crate::harness::daemon::ROSTERD;
use crate::harness::{scratch, write};

const UNITS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/systemd");

/// Installs the units into `dir`, with the program where it is now.
fn install(dir: &Path) {
    for name in ["rosterd.service", "rosterd.socket"] {
        let unit = std::fs::read_to_string(Path::new(UNITS).join(name)).unwrap();
        write(dir.join(name), unit.replace("/usr/bin/rosterd", ROSTERD));
    }
}

#[test]
fn systemd_verifies_the_units_without_a_word() {
    let dir = scratch("units");
    install(dir.path());
    // It ends with success on an unknown key, so what it prints is what counts.
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--man=no", "rosterd.service", "rosterd.socket"]);
    let output = verify.current_dir(dir.path()).output().expect("systemd-analyze starts");
    let said = [output.stdout, output.stderr].concat();
    assert_eq!(String::from_utf8_lossy(&said), "");
    assert!(output.status.success());
}

#[test]
fn systemd_finds_the_service_exposed_by_no_more_than_1_5() {
    let mut security = Command::new("systemd-analyze");
    security.args(["security", "--offline=yes", "--no-pager", "rosterd.service"]);
    let output = security.current_dir(UNITS).output().expect("systemd-analyze starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let score = text
        .lines()
        .find_map(|line| line.split("exposure level for rosterd.service: ").nth(1))
        .and_then(|rest| rest.split(' ').next()?.parse::<f64>().ok())
        .unwrap_or_else(|| panic!("no score in: {text}"));
    assert!(score <= 1.5, "{score}: {text}");
}
