//! Names with `*` in them.

/// Whether `glob` names `text`: `*` stands for any text, also none.
pub fn matches(glob: &str, text: &str) -> bool {
    let mut parts = glob.split('*');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        assert!(matches("daemon.start", "daemon.start"));
        assert!(matches("*", "") && matches("d*.st*t", "daemon.start"));
        assert!(!matches("daemon", "daemon.start") && !matches("*.stop", "daemon.start"));
    }
}
