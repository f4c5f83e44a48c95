//! Passwords and keys made for one run, each noted in one file, so that
//! `tests/run` can grep everything that was printed for every one of them.

use std::io::Write;

/// A password nobody has used before, good enough for Active Directory's rules.
pub fn password() -> String {
    let letters: String = std::iter::repeat_with(fastrand::alphanumeric).take(20).collect();
    note(format!("Pw.1{letters}"))
}

/// A webhook secret (`whsec_…`).
pub fn webhook() -> String {
    use base64::Engine;
    let key: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(32).collect();
    note(format!("whsec_{}", base64::engine::general_purpose::STANDARD.encode(key)))
}

/// Everything noted so far, by this and by earlier runs.
pub fn all() -> Vec<String> {
    let text = std::fs::read_to_string(file()).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Puts one more on the list; hands it back.
pub fn note(secret: String) -> String {
    let mut file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(file())
        .expect("the list of secrets");
    file.write_all(format!("{secret}\n").as_bytes()).expect("room for one line");
    secret
}

fn file() -> std::path::PathBuf {
    super::artifacts().join("secrets")
}
