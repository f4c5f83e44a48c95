//! Which known word was probably meant.

/// The known word nearest to `word`, when one is near enough to be a slip.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    known
        .into_iter()
        .map(|candidate| (distance(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= slip_max(&lower, candidate))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// A part of a known word (`password` for `bind_password`) counts as one slip
/// more.
fn distance(word: &str, candidate: &str) -> usize {
    const PART_MIN: usize = 3;
    let word = word.replace('-', "_");
    let parts = candidate.split('_').filter(|part| part.len() >= PART_MIN);
    let as_part = parts.map(|part| 1 + strsim::damerau_levenshtein(&word, part)).min();
    let edits = strsim::damerau_levenshtein(&word, candidate);
    as_part.map_or(edits, |part| part.min(edits))
}

fn slip_max(word: &str, candidate: &str) -> usize {
    (word.len().min(candidate.len()) / 3).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_other_words_are_not() {
        let known = ["min_delay", "max_delay", "bind_password", "url", "url_list"];
        let check = |word, meant| assert_eq!(nearest(word, known), meant, "{word}");
        check("min_dealy", Some("min_delay"));
        check("min-delay", Some("min_delay"));
        check("password", Some("bind_password"));
        check("pasword", Some("bind_password"));
        check("URL", Some("url"));
        check("color", None);
    }
}
