//! Walks the source and fails when a room names what it may not: the rules
//! that `src/lib.rs` promises, and those that no lint knows.

use std::path::{Path, PathBuf};

/// Rooms (paths under `src`, by prefix) and the other rooms they may not name.
const STRANGERS: &[(&str, &[&str])] = &[
    // A provider never sees what was committed; a reader never sees a provider.
    ("provider/", &["store", "sync", "index", "query", "webhook", "export", "wire", "cli"]),
    ("query/", &["provider", "cli"]),
    ("webhook/", &["provider", "sync", "query", "cli"]),
    ("client", &["provider", "store", "sync", "index", "query", "webhook", "cli", "config"]),
    ("export/", &["provider", "sync", "cli"]),
    ("index/", &["provider", "sync", "query", "webhook", "wire", "cli", "config"]),
    ("store/", &["provider", "sync", "index", "query", "webhook", "wire", "cli", "config"]),
    ("sync/", &["query", "webhook", "export", "wire", "cli"]),
    ("wire/", &["provider", "store", "sync", "index", "query", "webhook", "cli", "config"]),
    (
        "model/",
        &["provider", "store", "sync", "index", "query", "webhook", "wire", "cli", "config"],
    ),
];

/// Plain values that everyone may name.
const COMMON: &[&str] = &["provider::UserItem", "provider::GroupItem", "provider::Extent"];

/// Words, and the only places (paths under `src`, by prefix) that may use them.
const RESERVED: &[(&str, &[&str])] = &[
    ("sled::", &["store/"]),
    ("crossbeam_epoch", &["store/"]),
    ("ldap3::", &["provider/ldap/"]),
    ("lber::", &["provider/ldap/"]),
    ("crate::daemon", &["main.rs", "cli/"]),
    ("rosterd::daemon", &["main.rs"]),
    ("SystemTime", &["clock.rs"]),
    ("Instant::now", &["clock.rs"]),
    ("Timestamp::now", &["clock.rs"]),
    ("Zoned::now", &["clock.rs"]),
    ("env::var", &["config/"]),
    ("std::fs", &["config/", "store/", "provider/bundle/", "query/"]),
    ("tokio::fs", &["provider/bundle/"]),
];

/// What no code outside tests may contain.
const BANNED: &[&str] = &[
    ".unwrap()",
    ".expect(\"",
    "panic!(",
    "unreachable!(",
    "todo!(",
    "unimplemented!(",
    "#[allow",
    "#![allow",
    "unsafe ",
    "println!(\"{:?}",
    "dbg!(",
];

#[test]
fn every_room_keeps_to_itself() {
    let complaints: Vec<String> = sources().flat_map(|(path, text)| check(&path, &text)).collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

/// Every file with its text, without the modules that are tests only.
fn sources() -> impl Iterator<Item = (String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    walk(&root, &mut files);
    assert!(files.len() > 10, "the source is somewhere else");
    let texts: Vec<(PathBuf, String)> = files
        .into_iter()
        .map(|file| (file.clone(), std::fs::read_to_string(file).expect("readable")))
        .collect();
    let tests: Vec<PathBuf> =
        texts.iter().flat_map(|(file, text)| test_modules(file, text)).collect();
    texts.into_iter().filter(move |(file, _)| !tests.iter().any(|test| file.starts_with(test))).map(
        move |(file, text)| {
            let name = file.strip_prefix(&root).expect("under it").to_string_lossy().into_owned();
            (name, text)
        },
    )
}

/// The files and folders of modules that a file declares for tests only.
fn test_modules(file: &Path, text: &str) -> Vec<PathBuf> {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let folder = match &*stem {
        "mod" | "lib" | "main" => file.parent().expect("in a folder").to_owned(),
        _ => file.with_extension(""),
    };
    let lines: Vec<&str> = text.lines().collect();
    let declared = lines.windows(2).filter(|pair| pair[0].trim() == "#[cfg(test)]");
    declared
        .filter_map(|pair| pair[1].trim().strip_suffix(';')?.rsplit_once("mod ").map(|(_, m)| m))
        .flat_map(|name| [folder.join(format!("{name}.rs")), folder.join(name)])
        .collect()
}

fn walk(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("readable") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            walk(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn check(path: &str, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    if !text.starts_with("//! ") {
        complaints.push(format!("src/{path}: the first line does not say what the file is for"));
    }
    for (number, line) in code(text) {
        let mut complain = |what: String| complaints.push(format!("src/{path}:{number}: {what}"));
        for word in BANNED.iter().filter(|word| line.contains(**word)) {
            complain(format!("`{word}`"));
        }
        for (word, places) in RESERVED {
            if line.contains(word) && !places.iter().any(|place| path.starts_with(place)) {
                complain(format!("`{word}` belongs to {}", places.join(", ")));
            }
        }
    }
    let strangers = STRANGERS.iter().filter(|(room, _)| path.starts_with(room));
    let named = paths_named(text);
    for stranger in strangers.flat_map(|(_, strangers)| *strangers) {
        let within = |name: &&String| name.split("::").next() == Some(stranger);
        for name in named.iter().filter(within).filter(|name| !COMMON.contains(&name.as_str())) {
            complaints.push(format!("src/{path}: may not name `{name}`"));
        }
    }
    if path.starts_with("model/") && code(text).any(|(_, line)| line.contains("serde")) {
        complaints.push(format!("src/{path}: the model knows no wire format"));
    }
    complaints
}

/// Lines outside comments and outside what is marked `#[cfg(test)]`.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut skipped_indent: Option<usize> = None;
    let mut marked = false;
    text.lines().enumerate().filter_map(move |(number, line)| {
        let (indent, trimmed) = (line.len() - line.trim_start().len(), line.trim_start());
        if let Some(start) = skipped_indent {
            // rustfmt puts the end of an item under its beginning.
            if indent == start && trimmed.starts_with(['}', ')']) {
                skipped_indent = None;
            }
            return None;
        }
        if trimmed.starts_with("#[cfg(test)]") {
            marked = true;
            return None;
        }
        if marked {
            marked = trimmed.starts_with("#[");
            if !marked && trimmed.ends_with('{') {
                skipped_indent = Some(indent);
            }
            return None;
        }
        let code = trimmed.split("//").next().unwrap_or_default();
        (!code.is_empty()).then_some((number + 1, code))
    })
}

/// Every path below `crate::`, with braces written out.
fn paths_named(text: &str) -> Vec<String> {
    let code: String = code(text).flat_map(|(_, line)| [line, " "]).collect();
    let mut paths = Vec::new();
    for (at, word) in code.match_indices("crate::") {
        write_out("", &code[at + word.len()..], &mut paths);
    }
    paths
}

/// `a::{b, c::d}` gives `a::b` and `a::c::d`; returns what follows.
fn write_out<'a>(prefix: &str, text: &'a str, paths: &mut Vec<String>) -> &'a str {
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == ':';
    let text = text.trim_start();
    let (path, mut rest) = text.split_at(text.find(|l| !is_part(l)).unwrap_or(text.len()));
    let path = format!("{prefix}{path}");
    if !rest.starts_with('{') {
        paths.push(path);
        return rest;
    }
    while rest.starts_with(['{', ',']) {
        rest = write_out(&path, &rest[1..], paths).trim_start();
    }
    rest.strip_prefix('}').unwrap_or(rest)
}

#[test]
fn the_walk_sees_what_it_should_and_no_more() {
    let bad = "//! Reads.\nuse crate::{clock, store::{A, Store}};\nfn f() { x.unwrap() }\n";
    let complaints = check("provider/ldap/mod.rs", bad);
    assert_eq!(complaints.len(), 3, "{complaints:?}");
    assert!(complaints.iter().any(|c| c.contains("`store::Store`")), "{complaints:?}");
    assert!(complaints.iter().any(|c| c.contains("mod.rs:3: `.unwrap()`")), "{complaints:?}");
    let common = "//! I.\nuse crate::provider::{GroupItem, UserItem};\n";
    assert_eq!(check("index/mod.rs", common), [""; 0]);
    assert_eq!(check("index/mod.rs", "use x;\n").len(), 1);
    assert_eq!(check("index/mod.rs", "//! I.\nlet t = sled::open(p);\n").len(), 1);
    let tested = "//! I.\n// not x.unwrap()\n#[cfg(test)]\nmod tests {\n    fn f() {\n        \
                  x.unwrap()\n    }\n}\nfn g() { panic!(\"no\") }\n";
    assert_eq!(check("index/mod.rs", tested), ["src/index/mod.rs:9: `panic!(`"]);
}
