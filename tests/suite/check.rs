//! `rosterd check`, as a process: exit codes, streams, and no secret on either.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Exit code, standard output and standard error.
fn check(arguments: &[&str], config: &Path) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rosterd"));
    command.arg("check").args(arguments).arg("--config").arg(config);
    let output = command.output().expect("the binary starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it writes UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn the_example_is_valid_from_any_folder() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("config.example.toml");
    let (code, out, err) = check(&[], &example);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    assert!(out.contains("is valid") && out.contains("acme"), "{out}");
    let (code, out, _) = check(&["--json"], &example);
    let answer: Value = serde_json::from_str(&out).expect("it writes JSON");
    assert_eq!((code, &answer["directories"][0]["provider"]), (Some(0), &"bundle".into()));
}

#[test]
fn mistakes_are_told_with_places_and_never_with_secrets() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let config = folder.path().join("rosterd.toml");
    let text = "[directory.corp]\npoll.min_dealy = \"1m\"\n\
                provider.ldap = { url = \"ldaps://x\", base = \"dc=x\", bind_password = \"hunter2\" }\n";
    std::fs::write(&config, text).expect("the folder is ours");
    let (code, out, err) = check(&[], &config);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    for expected in
        ["rosterd.toml:2:6", "did you mean `min_delay`?", "`bind_password` must not stand"]
    {
        assert!(err.contains(expected), "{expected} in {err}");
    }
    assert!(!err.contains("hunter2") && !err.contains('\u{1b}'), "{err}");
    let (code, out, err) = check(&["--json"], &config);
    let answer: Value = serde_json::from_str(&out).expect("it writes JSON");
    assert_eq!((code, err.as_str()), (Some(1), ""));
    assert_eq!((&answer["valid"], &answer["mistakes"][0]["line"]), (&false.into(), &2.into()));
    assert!(!out.contains("hunter2"), "{out}");
}

#[test]
fn a_missing_file_is_no_valid_configuration() {
    let (code, out, err) = check(&[], Path::new("/nowhere/rosterd.toml"));
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(err.contains("no such file"), "{err}");
}
